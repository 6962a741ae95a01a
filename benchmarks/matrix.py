"""Train on one corpus, test on another: the five corpora at hand.

    python benchmarks/matrix.py

A logistic regression on functionals (:func:`helpers.experiments.transfer.cross_corpora`), asked for
the emotions that two corpora share. RAVDESS speech and song are of the same people, so neither is
tested on the other. Within one corpus every speaker is tested by a model that has not heard them.
``benchmarks/matrix.csv`` is the table: UAR with a 95 % interval over speakers.
"""

from __future__ import annotations

from itertools import combinations
from pathlib import Path

import pandas as pd

from helpers.corpora import load_corpora
from helpers.experiments.transfer import cross_corpora
from helpers.features.extract import extract_features
from helpers.sound.inspection import inspect_clips

TABLE = Path(__file__).with_name("matrix.csv")
CORPORA = ("ravdess", "ravdess-song", "tess", "emodb", "nemo")


def main() -> None:
    clips, _ = inspect_clips(load_corpora(list(CORPORA)))
    features = extract_features(clips, family="functionals")
    rows = []
    for pair in combinations(CORPORA, 2):
        both = clips["corpus"].isin(pair)
        for score in cross_corpora(clips[both], features[both]):
            low, high = score["uar_interval"]
            row = {name: score[name] for name in ("train", "test", "protocol", "uar")}
            row |= {"low": low, "high": high, "n": score["n"], "chance": score["chance"]}
            rows.append(row | {"emotions": " ".join(score["classes"])})
            pd.DataFrame(rows).to_csv(TABLE, index=False, float_format="%.3f")
    table = pd.DataFrame(rows)
    print(table.pivot_table("uar", "train", "test").round(2).to_string())


if __name__ == "__main__":
    main()
