"""How well the recipe of the model for users hears the actress of TESS whom it never heard.

    python benchmarks/actress.py

TESS has two actresses. Each is tested by networks that learned from the other one and from all
other corpora, once per seed; nothing is chosen, the last epoch is kept. The recipe is that of
``pretrain.py``, with fewer epochs and more weight for TESS. Networks and answers
are kept under ``outputs/actress``: what was killed is carried on. ``actress.csv`` is the table.
"""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pretrain

from helpers.columns import PROTOCOLS
from helpers.evaluation.groups import summarise
from helpers.runs import Run, outputs_home

TABLE = Path(__file__).with_name("actress.csv")
ACTRESSES = ("tess-OAF", "tess-YAF")
SEEDS = (0, 1, 2)
EPOCHS = 24
SHARE = pretrain.SHARE | {"tess": 0.25}


def main() -> None:
    pretrain.SETTINGS = replace(pretrain.SETTINGS, epochs=EPOCHS, wait=EPOCHS, patience=EPOCHS)
    pretrain.SHARE = SHARE
    run = Run(outputs_home() / "actress")
    clips = pretrain.read_clips(run)
    for seed in SEEDS:
        for actress in ACTRESSES:
            if not run.path(f"{actress} seed {seed}.csv").is_file():
                run.save_table(ask(clips, actress, seed), f"{actress} seed {seed}.csv")
    answers = pd.concat(
        [
            run.read_table(f"{actress} seed {seed}.csv", made_by="")
            for seed in SEEDS
            for actress in ACTRESSES
        ],
        ignore_index=True,
    )
    classes = pretrain.list_shared(answers)
    rows = [describe(answers, "both, pooled", classes)]
    rows += [describe(part, name, classes) for name, part in answers.groupby("speaker")]
    table = pd.DataFrame(rows)
    table.to_csv(TABLE, index=False, float_format="%.3f")
    print(table.to_string())


def ask(clips: pd.DataFrame, actress: str, seed: int) -> pd.DataFrame:
    """Train without the actress, and answer on her clips, only with emotions that TESS has."""
    begin = time.perf_counter()
    split = pd.Series("train", index=clips.index)
    split[clips["speaker"].isin(pretrain.HELD_OUT)] = "validation"
    split[clips["speaker"] == actress] = "test"
    body = pretrain.train(clips, split, pretrain.FEATURES, seed=seed, shape=pretrain.SHAPE)
    answers = clips[split == "test"].reset_index(drop=True)
    said = pd.DataFrame(pretrain.predict(body, answers), columns=pretrain.CLASSES)
    answers["predicted"] = said[pretrain.list_shared(answers)].idxmax(axis=1)
    minutes = (time.perf_counter() - begin) / 60
    right = (answers["predicted"] == answers["emotion"]).mean()
    print(f"{actress}, seed {seed}: accuracy {right:.3f}, {minutes:.1f} minutes", flush=True)
    return answers.assign(seed=seed, fold=ACTRESSES.index(actress) + 1)


def describe(answers: pd.DataFrame, tested: str, classes: list[str]) -> dict:
    """One row of the table."""
    found = summarise(answers, protocol=PROTOCOLS[0], classes=classes)
    low, high = found["uar"]["interval"]
    return {
        "tested": tested,
        "seeds": answers["seed"].nunique(),
        "n": len(answers) // answers["seed"].nunique(),
        "uar": found["uar"]["mean"],
        "sd of seeds": found["uar"]["sd"],
        "low": low,
        "high": high,
    }


if __name__ == "__main__":
    main()
