"""Train on one corpus, test on another: the five corpora at hand.

    python benchmarks/matrix.py

A logistic regression on functionals, asked for the emotions that two corpora share. RAVDESS speech
and song are of the same people, so neither is tested on the other. Within one corpus every speaker
is tested by a model that has not heard them.
``benchmarks/matrix.csv`` is the table: UAR with a 95 % interval over speakers.
"""

from __future__ import annotations

from itertools import combinations
from pathlib import Path

import pandas as pd

from helpers.corpora import load_corpora
from helpers.corpora.folds import count_folds, name_families
from helpers.errors import UserError
from helpers.evaluation.scores import score_predictions
from helpers.features.extract import extract_features
from helpers.models.recipes import make_linear_model
from helpers.sound.inspection import inspect_clips
from helpers.splits import make_split

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


def cross_corpora(clips: pd.DataFrame, features: pd.DataFrame, *, seed: int = 0) -> list[dict]:
    """Train on each corpus and on all but one, test on each, on the emotions that all share.

    The model is a logistic regression. (An SVM with an RBF kernel gives one answer to everything
    that lies far from what it learned, and recordings from another room do.) Where training and
    test are the same corpus, its speakers are tested fold by fold by models that have not heard
    them. Corpora that share speakers count as one.

    Parameters
    ----------
    clips : pd.DataFrame
        Utterance table of several corpora.
    features : pd.DataFrame
        Functionals, indexed as ``clips``.
    seed : int

    Returns
    -------
    list of dict
        One score (:func:`helpers.evaluation.scores.score_predictions`) per pair, with ``train``,
        ``test`` and ``model``; ``train`` is ``all others`` when one corpus is left out. Empty with
        one corpus, or where they share fewer than two emotions.
    """
    family = name_families(clips)
    classes = sorted(set.intersection(*clips.groupby(family)["emotion"].agg(set)))
    if family.nunique() < 2 or len(classes) < 2:
        return []
    kept = clips["emotion"].isin(classes)
    clips, features, family = clips[kept], features[kept], family[kept]
    names = sorted(family.unique())
    scores = []

    def score(train: str, test: str, answers: pd.DataFrame) -> None:
        if len(answers):  # none of a lone speaker: nothing within this corpus is unheard
            protocol = "speaker-independent" if train == test else "cross-corpus"
            found = score_predictions(
                answers, classes, protocol=protocol, n_resamples=1000, seed=seed
            )
            scores.append({"train": train, "test": test, "model": "linear", **found})

    for name in names:
        own = family == name
        score(name, name, _cross_validate(clips[own], features[own], seed))
        elsewhere = _answer(clips, features, own, ~own, seed)
        for other, part in elsewhere.groupby(family):
            score(name, other, part)
        if len(names) > 2:
            score("all others", name, _answer(clips, features, ~own, own, seed))
    return scores


def _cross_validate(clips: pd.DataFrame, features: pd.DataFrame, seed: int) -> pd.DataFrame:
    parts = [clips[:0]]
    for fold in range(1, count_folds(clips) + 1):
        try:
            split = make_split(clips, fold=fold, seed=seed)
        except UserError:
            continue
        heard = split.isin(["train", "validation"])
        parts.append(_answer(clips, features, heard, split == "test", seed))
    return pd.concat(parts)


def _answer(
    clips: pd.DataFrame, features: pd.DataFrame, heard: pd.Series, asked: pd.Series, seed: int
) -> pd.DataFrame:
    """The clips that are asked, with what a model says that learned from those that are heard."""
    x = features.to_numpy(dtype="float64")
    model = make_linear_model(seed).fit(x[heard], clips["emotion"][heard])
    return clips[asked].assign(predicted=model.predict(x[asked]))


if __name__ == "__main__":
    main()
