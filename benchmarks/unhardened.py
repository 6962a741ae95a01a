"""What rooms and noise in training cost on clips as recorded.

    python benchmarks/unhardened.py

The networks of ``pretrain.py`` for the six published RAVDESS folds, trained once more without
:func:`hardening.harden_frames`, with the augmentation of ``ser cv`` alone, and compared with
the hardened ones, whose answers ``folds.csv`` has. Networks are kept under
``outputs/unhardened``: what was killed is carried on. ``unhardened.csv`` is the table.
"""

from __future__ import annotations

import time
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
import pretrain

from helpers.evaluation.comparison import compare_predictions
from helpers.features.extract import extract_features
from helpers.runs import Run, outputs_home
from helpers.sound.augment import augment_frames

SEEDS = (0,)
TABLE = Path(__file__).with_name("unhardened.csv")


def main() -> None:
    run = Run(outputs_home() / "unhardened")
    clips = pretrain.read_clips(run)
    for seed, fold in product(SEEDS, pretrain.FOLDS):
        if not run.path(f"{fold} seed {seed}.csv").is_file():
            begin = time.perf_counter()
            run.save_table(ask(clips, fold, seed), f"{fold} seed {seed}.csv")
            print(f"{fold}, seed {seed}: {(time.perf_counter() - begin) / 60:.1f} min", flush=True)
    hardened = pd.read_csv(pretrain.ANSWERS)
    bare = {
        seed: pd.concat(
            [run.read_table(f"{fold} seed {seed}.csv", made_by="") for fold in pretrain.FOLDS]
        )
        for seed in SEEDS
    }
    pairs = list(product(SEEDS, pretrain.SEEDS))  # every network without beside every one with it
    gain = compare_predictions(
        pd.concat([number(bare[seed], pair) for pair, (seed, _) in enumerate(pairs)]),
        pd.concat([number(read(hardened, seed), pair) for pair, (_, seed) in enumerate(pairs)]),
        pretrain.CLASSES,
    )
    row = {"networks without": len(SEEDS), "networks with": len(pretrain.SEEDS)}
    row |= dict(zip(("without", "with"), gain["uar"], strict=True))
    row |= {"difference": gain["difference"]}
    row |= dict(zip(("low", "high"), gain["interval"], strict=True))
    table = pd.DataFrame([row])
    table.to_csv(TABLE, index=False, float_format="%.3f")
    print(table.round(3).to_string(index=False))


def ask(clips: pd.DataFrame, fold: str, seed: int) -> pd.DataFrame:
    """Train without rooms and noise, and answer on the fold's test speakers."""
    split = pretrain.choose_sides(clips, fold)
    body = pretrain.train(
        clips, split, pretrain.FEATURES, seed=seed, shape=pretrain.SHAPE, augment=augment_frames
    )
    tested = clips[split == "test"]
    x = extract_features(tested, family="logmel", settings=pretrain.FEATURES, n_jobs=1)
    said = body.predict(np.asarray(x, "float32"), batch_size=256, verbose=0)
    answers = tested[["speaker", "emotion"]].reset_index(drop=True)
    answers["path"] = [Path(path).name for path in tested["path"]]
    answers["predicted"] = np.asarray(pretrain.CLASSES, dtype=object)[said.argmax(axis=1)]
    return answers


def read(answers: pd.DataFrame, seed: int) -> pd.DataFrame:
    """What one hardened network said, as a column ``predicted``."""
    said = answers[pretrain.name_columns(seed)].to_numpy()
    names = np.asarray(pretrain.CLASSES, dtype=object)[said.argmax(axis=1)]
    return answers.assign(predicted=names)


def number(answers: pd.DataFrame, pair: int) -> pd.DataFrame:
    """The answers of one of several pairs, each clip by a name of its own."""
    return answers.assign(sha256=f"{pair} " + answers["path"])


if __name__ == "__main__":
    main()
