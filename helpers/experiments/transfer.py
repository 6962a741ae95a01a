"""What a score is worth elsewhere: leaks between training and test, and other corpora."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd

from helpers.corpora import load_corpora
from helpers.corpora.folds import count_folds, name_families
from helpers.errors import UserError
from helpers.evaluation.scores import score_predictions
from helpers.models.recipes import make_linear_model
from helpers.splits import make_split

#: From the leakiest to the strictest.
LEAKAGE_PROTOCOLS = ("leaky", "random-80-20", "speaker-independent")


def demonstrate_leak(
    clips: pd.DataFrame,
    features: pd.DataFrame,
    copies: pd.DataFrame,
    *,
    fold: int = 1,
    seed: int = 0,
) -> dict[str, pd.DataFrame]:
    """Train one network under each protocol, and let it answer on that protocol's test set.

    Under ``leaky`` every clip is augmented *before* clips are put into a set, as in
    much-copied notebooks: of most test clips, training has heard the other version. Elsewhere the
    same copies are added to the training set alone. The training sets are of nearly one size, and
    nothing is chosen: the number of epochs is the same everywhere. (Half the clips alone cost 0.09
    on RAVDESS, which is why a protocol that also keeps words apart is not among these.)

    Parameters
    ----------
    clips : pd.DataFrame
        Utterance table.
    features, copies : pd.DataFrame
        Features of a clip family, of the clips and of a copy of each that begins 0.2 s later.
    fold, seed : int

    Returns
    -------
    dict of str to pd.DataFrame
        Protocol → test clips with ``predicted``. A protocol that these clips do not allow (one
        speaker, unknown texts) is left out.
    """
    from sklearn.neural_network import MLPClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    both = pd.concat([clips.assign(copy=False), clips.assign(copy=True)], ignore_index=True)
    x = pd.concat([features, copies]).to_numpy(dtype="float64")
    answers = {}
    for protocol in LEAKAGE_PROTOCOLS:
        if protocol == "leaky":
            # A copy is a file of its own, as it was there: else it would stay with its clip.
            files = both["copy"].map({False: "", True: "copy of "}) + both["path"]
            split = make_split(both.assign(path=files), protocol="random-80-20", seed=seed)
        else:
            try:
                sides = make_split(clips, protocol=protocol, fold=fold, seed=seed)
            except UserError:
                continue
            split = pd.concat([sides, sides.where(sides == "train", "unused")], ignore_index=True)
        train, test = (np.asarray(split == side) for side in ("train", "test"))
        # The layers of functionals_mlp, by scikit-learn: a training takes seconds.
        layers = MLPClassifier((512, 256, 128, 64), batch_size=64, max_iter=40, random_state=seed)
        network = make_pipeline(StandardScaler(), layers)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that it could still learn more
            network.fit(x[train], both["emotion"][train])
        answers[protocol] = both[test].assign(predicted=network.predict(x[test]))
    return answers


def load_others(clips: pd.DataFrame, *, n: int) -> pd.DataFrame:
    """Clips of the other corpora that are there, of people who are not in ``clips``.

    Parameters
    ----------
    clips : pd.DataFrame
        Utterance table of the run.
    n : int
        Clips of each corpus at most, in equal numbers of each emotion.

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
    others = others[~others["corpus"].isin(clips["corpus"])].sample(frac=1, random_state=0)
    shares = others.groupby("corpus")["emotion"].transform("nunique")
    rank = others.groupby(["corpus", "emotion"]).cumcount()
    return others[rank < (n / shares).clip(lower=1)].sort_values("path", ignore_index=True)


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
