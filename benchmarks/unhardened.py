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
    bare = {
        seed: pd.concat(
            [run.read_table(f"{fold} seed {seed}.csv", made_by="") for fold in pretrain.FOLDS]
        )
        for seed in SEEDS
    }
    # Every network without beside every one with it; the clips of a pair have names of their own.
    pairs = list(product(SEEDS, pretrain.SEEDS))
    first = pd.concat([bare[seed].assign(seed=pair) for pair, (seed, _) in enumerate(pairs)])
    second = pretrain.mix(pd.read_csv(pretrain.ANSWERS), [(seed,) for _, seed in pairs])
    tables = [
        table.assign(sha256=table["seed"].astype(str) + " " + table["path"])
        for table in (first, second)
    ]
    gain = compare_predictions(*tables, pretrain.CLASSES)
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
    answers = clips.loc[split == "test", ["path", "speaker", "emotion"]].reset_index(drop=True)
    said = pretrain.predict(body, clips[split == "test"])
    answers["path"] = [Path(path).name for path in answers["path"]]
    answers["predicted"] = np.asarray(pretrain.CLASSES, dtype=object)[said.argmax(axis=1)]
    return answers


if __name__ == "__main__":
    main()
