"""Does what was learned on one corpus hold on another?"""

from __future__ import annotations

from collections.abc import Iterator

import pandas as pd

from helpers.corpora import load_corpora
from helpers.corpora.folds import count_folds, name_families
from helpers.errors import UserError
from helpers.evaluation.scores import score_predictions
from helpers.experiments.baselines import make_linear_model
from helpers.splits import split_by_speaker


def load_others(clips: pd.DataFrame, *, n: int = 400, seed: int = 0) -> pd.DataFrame:
    """Clips of the other corpora that are there, of people who are not in ``clips``.

    Parameters
    ----------
    clips : pd.DataFrame
        Utterance table of the run.
    n : int
        Clips of each corpus at most, in equal numbers of each emotion.
    seed : int

    Returns
    -------
    pd.DataFrame
        Utterance table, empty where nothing else is there.
    """
    try:
        others = load_corpora("all")
    except UserError:
        return clips[:0]
    others = others[~others["speaker"].isin(clips["speaker"])]
    others = others[~others["corpus"].isin(clips["corpus"])].sample(frac=1, random_state=seed)
    shares = others.groupby("corpus")["emotion"].transform("nunique")
    rank = others.groupby(["corpus", "emotion"]).cumcount()
    return others[rank < (n / shares).clip(lower=1)].sort_values("path", ignore_index=True)


def shared_emotions(clips: pd.DataFrame) -> list[str]:
    """Emotions that every corpus of a table has, in alphabetical order."""
    sets = clips.groupby(name_families(clips))["emotion"].agg(set)
    return sorted(set.intersection(*sets))


def cross_corpora(
    clips: pd.DataFrame, features: pd.DataFrame, *, n_resamples: int = 1000, seed: int = 0
) -> list[dict]:
    """Train on each corpus and on all but one, test on each, on the emotions that all share.

    The model is a logistic regression, as so many trainings have to be quick. (An SVM with an RBF
    kernel gives one answer to everything that lies far from what it learned, and another room
    does.) Where training and test are the same corpus, its speakers are tested fold by fold by
    models that have not heard them. Corpora that share speakers count as one.

    Parameters
    ----------
    clips : pd.DataFrame
        Utterance table of several corpora.
    features : pd.DataFrame
        Functionals, indexed as ``clips``.
    n_resamples, seed : int

    Returns
    -------
    list of dict
        A score (:func:`helpers.evaluation.scores.score_predictions`) a pair, with ``train``,
        ``test`` and ``model``; ``train`` is ``all others`` when one corpus is left out. Empty with
        one corpus, or where they share fewer than two emotions.
    """
    classes = shared_emotions(clips)
    family = name_families(clips)
    if family.nunique() < 2 or len(classes) < 2:
        return []
    kept = clips["emotion"].isin(classes)
    clips, features, family = clips[kept], features[kept], family[kept]
    scores = []
    for train, test, answers in _answer_all(clips, features, family, seed):
        if answers.empty:  # a lone speaker: nothing within this corpus is unheard
            continue
        protocol = "speaker-independent" if train == test else "cross-corpus"
        score = score_predictions(
            answers, classes, protocol=protocol, n_resamples=n_resamples, seed=seed
        )
        scores.append({"train": train, "test": test, "model": "linear", **score})
    return scores


def _answer_all(
    clips: pd.DataFrame, features: pd.DataFrame, family: pd.Series, seed: int
) -> Iterator[tuple[str, str, pd.DataFrame]]:
    """Training corpus, test corpus, and the answers on it."""
    names = sorted(family.unique())
    for name in names:
        own = family == name
        yield name, name, _cross_validate(clips[own], features[own], seed)
        model = _fit(clips[own], features[own], seed)
        for other in names:
            if other != name:
                there = family == other
                yield name, other, _ask(model, clips[there], features[there])
        if len(names) > 2:
            model = _fit(clips[~own], features[~own], seed)
            yield "all others", name, _ask(model, clips[own], features[own])


def _cross_validate(clips: pd.DataFrame, features: pd.DataFrame, seed: int) -> pd.DataFrame:
    parts = []
    for fold in range(1, count_folds(clips) + 1):
        try:
            split = split_by_speaker(clips, fold=fold, seed=seed)
        except UserError:
            continue
        heard, test = split.isin(["train", "validation"]), split == "test"
        model = _fit(clips[heard], features[heard], seed)
        parts.append(_ask(model, clips[test], features[test]))
    return pd.concat(parts) if parts else clips[:0].assign(predicted="")


def _fit(clips: pd.DataFrame, features: pd.DataFrame, seed: int):
    return make_linear_model(seed).fit(features.to_numpy(dtype="float64"), clips["emotion"])


def _ask(model, clips: pd.DataFrame, features: pd.DataFrame) -> pd.DataFrame:
    return clips.assign(predicted=model.predict(features.to_numpy(dtype="float64")))
