"""Models that train in seconds: what a deep model has to beat, and what helps a linear one."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import islice

import numpy as np
import pandas as pd

from helpers.features.extract import compute_features, extract_features
from helpers.models.recipes import RECIPES, make_linear_model
from helpers.parallel import map_clips
from helpers.sound.audio import load_audio
from helpers.sound.augment import AUGMENTATIONS

_ABLATION_FAMILY = "vector180"
_VOICES = 4
_SHUFFLES = 10


def predict_baselines(
    clips: pd.DataFrame, features: pd.DataFrame, protocol: str, *, seed: int = 0
) -> dict[str, pd.DataFrame]:
    """Answers of the baselines on the test set.

    Parameters
    ----------
    clips : pd.DataFrame
        Utterance table with a column named like ``protocol`` that names the set of each clip.
    features : pd.DataFrame
        Functionals, indexed as ``clips``.
    protocol : str
    seed : int
        Of the draws of ``chance``.

    Returns
    -------
    dict
        ``svm``, ``majority`` (always the commonest emotion of the training set) and ``chance``
        (any emotion, equally often) → the test clips with ``predicted``.
    """
    split = clips[protocol]
    train, test = clips[split == "train"], clips[split == "test"]
    rng = np.random.default_rng(seed)
    classes = sorted(train["emotion"].unique())
    svm = RECIPES["svm"].fit_predict(features, clips, split, classes=classes, seed=seed)
    answers = {
        "svm": svm["predicted"].to_numpy(),
        "majority": train["emotion"].value_counts().sort_index().idxmax(),
        "chance": rng.choice(classes, size=len(test)),
    }
    return {
        name: test.assign(predicted=said).reset_index(drop=True) for name, said in answers.items()
    }


def group_importance(
    features: pd.DataFrame,
    emotions: pd.Series,
    split: pd.Series,
    groups: Mapping[str, list[str]],
    *,
    seed: int = 0,
) -> tuple[pd.DataFrame, float]:
    """How much a linear model loses on new speakers when a group of columns is shuffled.

    A logistic regression is fitted to the training set and scored on the validation set; then
    the clips of that set exchange their values of one group among each other.

    Parameters
    ----------
    features : pd.DataFrame, shape (n_clips, n_columns)
    emotions, split : pd.Series
        In the order of ``features``; the test set is not looked at.
    groups : mapping of str to list of str
        From :func:`helpers.features.effects.group_columns`.
    seed : int

    Returns
    -------
    pd.DataFrame
        One row per group, the most important first: ``group columns drop drop_std``, in UAR.
    float
        UAR with nothing shuffled.
    """
    from sklearn.metrics import balanced_accuracy_score

    train, held = (split == "train").to_numpy(), (split == "validation").to_numpy()
    model = make_linear_model(seed).fit(features[train], emotions[train])
    true, values = emotions[held], features[held]
    whole = balanced_accuracy_score(true, model.predict(values))
    rng = np.random.default_rng(seed)
    rows = []
    for name, columns in groups.items():
        drops = []
        for _ in range(_SHUFFLES):
            shuffled = values.copy()
            shuffled[columns] = values[columns].to_numpy()[rng.permutation(len(values))]
            drops.append(whole - balanced_accuracy_score(true, model.predict(shuffled)))
        rows.append((name, len(columns), np.mean(drops), np.std(drops)))
    table = pd.DataFrame(rows, columns=["group", "columns", "drop", "drop_std"])
    return table.sort_values("drop", ascending=False, ignore_index=True), float(whole)


def ablate(
    clips: pd.DataFrame,
    protocol: str,
    amounts: Mapping[str, Mapping[str, object]],
    conditions: Mapping[str, Mapping[str, object]],
    *,
    n_train: int,
    n_validation: int,
    seed: int = 0,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """UAR on new speakers with and without each augmentation, in several conditions.

    A linear model on 180 means learns some clips of the training set, and the same clips with one
    augmented copy of each; it is scored on clips of the validation set, as recorded and changed.

    Parameters
    ----------
    clips : pd.DataFrame
        Utterance table with a column named like ``protocol`` that names the set of each clip.
    protocol : str
    amounts, conditions : mapping
        Augmentation → its arguments: those to learn from, and those to be scored in.
    n_train, n_validation : int
        Clips at most, in equal numbers of each emotion.
    seed : int

    Returns
    -------
    scores : pd.DataFrame
        UAR; rows ``nothing`` and the augmentations, columns ``as recorded`` and the conditions.
    held : pd.DataFrame
        The validation clips that were scored.
    """
    from sklearn.metrics import balanced_accuracy_score

    train = draw_clips(clips[clips[protocol] == "train"], n_train, seed)
    held = draw_clips(clips[clips[protocol] == "validation"], n_validation, seed)
    # Babble of a condition is made of validation voices, that of training of training ones.
    tests = {"as recorded": extract_features(held, family=_ABLATION_FAMILY)}
    tests |= change_clips(held, conditions, seed=seed)
    plain, y = extract_features(train, family=_ABLATION_FAMILY), train["emotion"]
    learned = {"nothing": (plain, y)}
    for name, copies in change_clips(train, amounts, seed=seed).items():
        learned[name] = pd.concat([plain, copies]), pd.concat([y, y])
    rows = {}
    for name, (x, y) in learned.items():
        model = make_linear_model(seed).fit(x, y)
        rows[name] = {
            condition: balanced_accuracy_score(held["emotion"], model.predict(values))
            for condition, values in tests.items()
        }
    return pd.DataFrame(rows).T, held


def change_clips(
    clips: pd.DataFrame,
    amounts: Mapping[str, Mapping[str, object]],
    *,
    family: str = _ABLATION_FAMILY,
    seed: int = 0,
) -> dict[str, pd.DataFrame]:
    """Features of augmented copies of clips, in parallel; nothing is written.

    Parameters
    ----------
    clips : pd.DataFrame
        Utterance table. Babble for a clip is made of its other speakers, if there are any.
    amounts : mapping
        Names of :data:`helpers.sound.augment.AUGMENTATIONS` → their arguments.
    family : str
        Clip family of :mod:`helpers.features.extract`.
    seed : int

    Returns
    -------
    dict of str to pd.DataFrame, shape (n_clips, n_columns)
        One table per augmentation, indexed as ``clips``.
    """
    jobs = []
    for name, amount in amounts.items():
        for place, clip in enumerate(clips.itertuples()):
            others = []
            if name == "babble":
                others = clips.loc[clips["speaker"] != clip.speaker, "path"].tolist()
                others = others or clips.loc[clips["path"] != clip.path, "path"].tolist()
            jobs.append((clip.path, name, dict(amount), others, family, (seed, place)))
    rows = map_clips(_change, jobs, label=", ".join(amounts))
    return {
        name: pd.DataFrame(list(islice(rows, len(clips))), index=clips.index) for name in amounts
    }


def _change(job: tuple) -> np.ndarray | dict[str, float]:
    path, name, amount, others, family, seed = job
    rng = np.random.default_rng(seed)
    y = load_audio(path)
    if name == "babble":
        chosen = rng.permutation(len(others))[:_VOICES]
        amount["voices"] = [load_audio(others[place]) for place in chosen]
    y = AUGMENTATIONS[name](y, rng, **amount)
    return compute_features(y, family=family)


def draw_clips(clips: pd.DataFrame, n: int, seed: int) -> pd.DataFrame:
    """At most ``n`` clips, in equal numbers of each emotion as far as there are, in their order."""
    each = max(1, n // clips["emotion"].nunique())
    shuffled = clips.sample(frac=1, random_state=seed)
    return shuffled.groupby("emotion", sort=True).head(each).sort_index()
