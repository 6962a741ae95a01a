"""What rooms and noise in training cost on clips as recorded.

    python benchmarks/unhardened.py

The networks of ``pretrain.py`` for the six published RAVDESS folds, trained once more without
:func:`hardening.harden_frames`, with the augmentation of ``ser cv`` alone, and compared with
the hardened ones, whose answers ``folds.csv`` has. Each network's answers are kept under
``outputs/unhardened``: what was killed is carried on. ``unhardened_folds.csv`` has them all, and
``unhardened.csv`` is the table.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from itertools import product
from pathlib import Path

import pandas as pd
import pretrain

from helpers.evaluation.comparison import compare_predictions
from helpers.runs import Run, outputs_home
from helpers.sound.augment import augment_frames

TABLE = Path(__file__).with_name("unhardened.csv")
ANSWERS = Path(__file__).with_name("unhardened_folds.csv")


def main() -> None:
    run = Run(outputs_home() / "unhardened")
    clips = pretrain.read_clips(run)
    for seed, fold in product(pretrain.SEEDS, pretrain.FOLDS):
        if not run.path(name_answers(fold, seed)).is_file():
            begin = time.perf_counter()
            run.save_table(ask(clips, fold, seed), name_answers(fold, seed))
            print(f"{fold}, seed {seed}: {(time.perf_counter() - begin) / 60:.1f} min", flush=True)
    of_seeds = [
        pd.concat(
            [run.read_table(name_answers(fold, seed), made_by="") for fold in pretrain.FOLDS]
        ).set_index(["path", "speaker", "emotion"])
        for seed in pretrain.SEEDS
    ]
    pd.concat(of_seeds, axis=1).reset_index().to_csv(ANSWERS, index=False)
    bare, hardened = pd.read_csv(ANSWERS), pd.read_csv(pretrain.ANSWERS)
    alone = [(seed,) for seed in pretrain.SEEDS]
    rows = [
        {"networks": 1} | compare(bare, hardened, product(alone, alone)),
        {"networks": len(alone)} | compare(bare, hardened, [(pretrain.SEEDS, pretrain.SEEDS)]),
    ]
    table = pd.DataFrame(rows)
    table.to_csv(TABLE, index=False, float_format="%.3f")
    print(table.round(3).to_string(index=False))


def ask(clips: pd.DataFrame, fold: str, seed: int) -> pd.DataFrame:
    """Train without rooms and noise, and answer on the fold's test speakers."""
    split = pretrain.choose_sides(clips, fold)
    body = pretrain.train(
        clips, split, pretrain.FEATURES, seed=seed, shape=pretrain.SHAPE, augment=augment_frames
    )
    tested = clips[split == "test"]
    answers = tested[["path", "speaker", "emotion"]].reset_index(drop=True)
    answers["path"] = [Path(path).name for path in answers["path"]]
    answers[pretrain.name_columns(seed)] = pretrain.predict(body, tested).round(4)
    return answers


def name_answers(fold: str, seed: int) -> str:
    """Name of the table with what one network said."""
    return f"{fold} seed {seed}.csv"


def compare(bare: pd.DataFrame, hardened: pd.DataFrame, pairs: Iterable) -> dict:
    """UAR without and with rooms and noise, over all pairs of choices of networks.

    The clips of each pair have names of their own.
    """
    pairs = list(pairs)
    tables = []
    for answers, choices in zip((bare, hardened), zip(*pairs, strict=True), strict=True):
        mixed = pretrain.mix(answers, choices)
        tables.append(mixed.assign(sha256=mixed["seed"].astype(str) + " " + mixed["path"]))
    gain = compare_predictions(*tables, pretrain.CLASSES)
    low, high = gain["interval"]
    row = dict(zip(("without", "with"), gain["uar"], strict=True))
    return row | {"difference": gain["difference"], "low": low, "high": high}


if __name__ == "__main__":
    main()
