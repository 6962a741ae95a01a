"""Who is in train, validation and test.

The question is whether a model works for people it has never heard, so the default protocol,
``speaker-independent``, puts whole speakers on one side. ``random-80-20`` is the protocol of most
published notebooks and is kept for comparison only: the same voices stand on both sides.
``speaker-text-independent`` keeps the words of the test side unheard as well; ``own-split`` is what
a manifest of one's own says.
"""

from __future__ import annotations

import logging

import numpy as np
import pandas as pd

#: RAVDESS test actors, fold by fold, as used by the EmoBox benchmark (arXiv 2406.07162).
RAVDESS_FOLDS = (
    (1, 11, 20, 21),
    (4, 10, 12, 14),
    (8, 9, 19, 23),
    (3, 5, 7, 24),
    (2, 15, 16, 18),
    (6, 13, 17, 22),
)
PROTOCOLS = ("speaker-independent", "random-80-20", "own-split", "speaker-text-independent")
SIDES = ("train", "validation", "test")
UNUSED = "unused"  # on no side: a test speaker's heard text, a training speaker's held one
_LOG = logging.getLogger(__name__)


class SplitError(ValueError):
    """A split that cannot be made, or that would let a speaker cross."""


def speaker_folds(speakers: pd.DataFrame) -> list[list[str]]:
    """Deal the speakers of one corpus into test folds.

    RAVDESS has published folds, and EmoDB is by custom tested a speaker at a time. Up to five
    speakers make a fold each; more are dealt in turn, women and men alternating, into at most six
    folds of at least two.

    Parameters
    ----------
    speakers : pd.DataFrame
        One row a speaker with the columns ``speaker`` and ``gender``.

    Returns
    -------
    list of list of str

    Examples
    --------
    >>> speaker_folds(pd.DataFrame({"speaker": ["b", "a"], "gender": ["", ""]}))
    [['a'], ['b']]
    """
    names = sorted(speakers["speaker"])
    published = [[f"ravdess-{actor:02d}" for actor in fold] for fold in RAVDESS_FOLDS]
    if set(names) <= {name for fold in published for name in fold}:
        folds = [[name for name in fold if name in names] for fold in published]
        folds = [fold for fold in folds if fold]
        if len(folds) > 1:  # a few actors of one fold are dealt as any others
            return folds
    if len(names) <= 5 or all(name.startswith("emodb-") for name in names):
        return [[name] for name in names]
    ordered = speakers.sort_values(["gender", "speaker"])["speaker"].tolist()
    n_folds = min(6, len(ordered) // 2)
    return [sorted(ordered[i::n_folds]) for i in range(n_folds)]


def split_by_speaker(table: pd.DataFrame, *, fold: int = 1, seed: int = 0) -> pd.Series:
    """Put whole speakers into train, validation or test.

    Fold *k* is the test side and fold *k* + 1 the validation side, corpus by corpus. A corpus of
    two speakers (TESS) has none to spare for validation: there a tenth of the training speaker's
    own texts is used, and the test speaker stays unheard.

    Parameters
    ----------
    table : pd.DataFrame
        Utterance table.
    fold : int, default=1
        1-based; counted around where a corpus has fewer folds.
    seed : int, default=0
        Only chooses the validation texts of a two-speaker corpus.

    Returns
    -------
    pd.Series of str
        ``train``, ``validation`` or ``test``, indexed as ``table``.

    Raises
    ------
    SplitError
        A single speaker, or a fold below 1.
    """
    if fold < 1:
        raise SplitError(f"fold {fold}: folds are counted from 1")
    split = pd.Series("train", index=table.index, name="split")
    voices = table.assign(family=name_families(table))
    for family, clips in voices.groupby("family"):
        folds = speaker_folds(clips[["speaker", "gender"]].drop_duplicates("speaker"))
        if len(folds) < 2:
            if voices["family"].nunique() == 1:
                raise SplitError(
                    f"{family}: found one speaker ({clips['speaker'].iloc[0]}), expected at least "
                    "two for a speaker-independent split. Name the speakers (column `speaker` of "
                    "the manifest, or folders <emotion>/<speaker>/), or set "
                    "PROTOCOL = 'random-80-20' and read the score as that."
                )
            continue  # a lone speaker beside other corpora can only help to train
        test = folds[(fold - 1) % len(folds)]
        split[clips.index[clips["speaker"].isin(test)]] = "test"
        if len(folds) > 2:
            validation = folds[fold % len(folds)]
            split[clips.index[clips["speaker"].isin(validation)]] = "validation"
        else:
            rest = clips[~clips["speaker"].isin(test)]
            split[rest.index[_pick_texts(rest, share=0.1, seed=seed)]] = "validation"
    if copies := _crossing(table, split, "sha256"):
        # One recording under two speakers: the test keeps it, training does without.
        there = table["sha256"].isin(copies) & (split != "test")
        split[there] = UNUSED
        _LOG.warning("left out of training, as they are in the test: %s",
                     ", ".join(table.loc[there, "path"][:4]))  # fmt: skip
    check_split(table, split)
    return split


def split_by_speaker_and_text(table: pd.DataFrame, *, fold: int = 1, seed: int = 0) -> pd.Series:
    """As :func:`split_by_speaker`, and no text of the test side is heard in training either.

    A corpus of few sentences, spoken by everybody, can be learned sentence by sentence. Here a
    fifth of a corpus's texts (of two, one) is held back: the test speakers are tested on these
    alone, the others learn from the rest. What is left belongs to no side.

    Parameters
    ----------
    table : pd.DataFrame
        Utterance table.
    fold : int, default=1
        1-based; rotates speakers and texts.
    seed : int, default=0
        As :func:`split_by_speaker`.

    Returns
    -------
    pd.Series of str
        ``train``, ``validation``, ``test`` or ``unused``, indexed as ``table``.

    Raises
    ------
    SplitError
        As :func:`split_by_speaker`; also where a corpus has one text only, or none is known.
    """
    split = split_by_speaker(table, fold=fold, seed=seed)
    for corpus, clips in table.groupby("corpus"):
        texts = sorted(set(clips["text"]))
        if len(texts) < 2 or "" in texts:
            raise SplitError(
                f"{corpus}: found {len(texts)} texts ({', '.join(map(repr, texts[:3]))}), expected "
                "at least two, and one for each clip. The protocol speaker-text-independent needs "
                "the column `text` of the manifest; speaker-independent does without."
            )
        n = min(len(texts), 5)
        held = clips["text"].isin(texts[(fold - 1) % n :: n])
        tested = split[clips.index] == "test"
        split[clips.index[held != tested]] = UNUSED
    check_split(table, split)
    if both := set(table["text"][split == "test"]) & set(table["text"][split == "train"]):
        raise SplitError(f"texts on both sides: {', '.join(sorted(both)[:3])}")
    return split


def count_folds(table: pd.DataFrame) -> int:
    """Number of folds after which every speaker has been tested once.

    Examples
    --------
    >>> count_folds(pd.DataFrame({"corpus": "own", "speaker": ["a", "b", "c"], "gender": ""}))
    3
    """
    families = table.groupby(name_families(table))[["speaker", "gender"]]
    return max(len(speaker_folds(part.drop_duplicates("speaker"))) for _, part in families)


def split_random(table: pd.DataFrame, *, seed: int = 0) -> pd.Series:
    """80 % train, 20 % test, by chance and stratified by emotion: the seeds' protocol.

    A tenth of the training side is set apart for early stopping, so that the test side is not
    used to choose anything.

    Returns
    -------
    pd.Series of str
        ``train``, ``validation`` or ``test``, indexed as ``table``.

    Raises
    ------
    SplitError
        An emotion with fewer than five clips, which cannot stand on both sides.

    Examples
    --------
    >>> clips = pd.DataFrame({"emotion": ["sad", "happy"] * 50})
    >>> split_random(clips).value_counts().to_dict()
    {'train': 72, 'test': 20, 'validation': 8}
    """
    counts = table["emotion"].value_counts()
    if counts.empty:
        raise SplitError("no clips to split")
    if counts.min() < 5:
        raise SplitError(
            f"{counts.idxmin()}: found {counts.min()} clips, expected at least 5 an emotion for a "
            "random split. Add recordings or leave that emotion out."
        )
    rng = np.random.default_rng(seed)
    split = pd.Series("train", index=table.index, name="split")
    for _, clips in table.groupby("emotion"):
        order = rng.permutation(clips.index.to_numpy())
        n_test = max(1, round(0.2 * len(order)))
        n_validation = max(1, round(0.1 * (len(order) - n_test)))
        split[order[:n_test]] = "test"
        split[order[n_test : n_test + n_validation]] = "validation"
    return split


def split_as_given(table: pd.DataFrame, *, seed: int = 0) -> pd.Series:
    """The sides that a manifest gives in its column ``split``.

    Without a validation side, about a tenth of the training side is set apart for it. Speakers on
    both sides are said in a warning: the score is then not one on people never heard.

    Returns
    -------
    pd.Series of str
        ``train``, ``validation`` or ``test``, indexed as ``table``.

    Raises
    ------
    SplitError
        No such column, or nothing to train on or to test.

    Examples
    --------
    >>> clips = pd.DataFrame({"split": ["train"] * 8 + ["test"], "emotion": "sad",
    ...     "text": "", "speaker": ["a"] * 8 + ["b"]})
    >>> split_as_given(clips).value_counts().to_dict()
    {'train': 7, 'validation': 1, 'test': 1}
    """
    if "split" not in table:
        raise SplitError("own-split: found no column split, expected a manifest that has one")
    split = table["split"].copy()
    if not (split == "validation").any():
        train = table[split == "train"]
        split[train.index[_pick_texts(train, share=0.1, seed=seed)]] = "validation"
    _refuse_empty(split)
    if crossing := _crossing(table, split):
        _LOG.warning("own-split: speakers on both sides: %s", ", ".join(crossing[:8]))
    return split


def make_split(
    table: pd.DataFrame, *, protocol: str = "speaker-independent", fold: int = 1, seed: int = 0
) -> pd.Series:
    """Split by the name of a protocol (:data:`PROTOCOLS`)."""
    if protocol == "speaker-independent":
        return split_by_speaker(table, fold=fold, seed=seed)
    if protocol == "speaker-text-independent":
        return split_by_speaker_and_text(table, fold=fold, seed=seed)
    if protocol == "random-80-20":
        return split_random(table, seed=seed)
    if protocol == "own-split":
        return split_as_given(table, seed=seed)
    raise SplitError(f"protocol {protocol!r}: expected one of {', '.join(PROTOCOLS)}")


def check_split(table: pd.DataFrame, split: pd.Series) -> None:
    """Raise unless every side has clips and nothing of the test side is heard in training.

    Neither a speaker of the test side nor, where the table has the contents' ``sha256``, one of its
    recordings under another name may stand on another side.

    Raises
    ------
    SplitError
        Names the speakers or recordings that cross, or the side that is empty.
    """
    _refuse_empty(split)
    if crossing := _crossing(table, split):
        raise SplitError(f"speakers on both sides: {', '.join(crossing[:8])}")
    if crossing := _crossing(table, split, "sha256"):
        names = table.loc[table["sha256"].isin(crossing), "path"]
        raise SplitError(f"the same recording on both sides: {', '.join(names[:4])}")


def _refuse_empty(split: pd.Series) -> None:
    empty = [side for side in SIDES if not (split == side).any()]
    if empty:
        raise SplitError(f"no clips on the {' and '.join(empty)} side; the corpus is too small")


def _crossing(table: pd.DataFrame, split: pd.Series, column: str = "speaker") -> list[str]:
    if column not in table:
        return []
    known = table[column].dropna()
    sides = split.reindex(known.index)
    return sorted(set(known[sides == "test"]) & set(known[sides.isin(["train", "validation"])]))


def name_families(table: pd.DataFrame) -> pd.Series:
    """Name of the group in which a clip's speaker is dealt: its corpus, or several together.

    Parameters
    ----------
    table : pd.DataFrame
        Utterance table; ``corpus`` and ``speaker`` are read.

    Returns
    -------
    pd.Series of str
        Indexed as ``table``.

    Notes
    -----

    Corpora that share a speaker are one family (RAVDESS speech and song share their actors). Where
    no corpus has two speakers, all are one: each recording of one person may be a corpus.
    """
    family = table["corpus"]
    while True:
        merged = family.groupby(table["speaker"]).transform("min")
        merged = merged.groupby(family).transform("min")
        if merged.equals(family):
            break
        family = merged
    if (table["speaker"].groupby(family).nunique() < 2).all():
        return pd.Series(min(family, default=""), index=table.index)
    return family


def _pick_texts(clips: pd.DataFrame, *, share: float, seed: int) -> np.ndarray:
    """Mask of about ``share`` of the clips, whole texts where there are enough of them."""
    rng = np.random.default_rng(seed)
    texts = sorted(set(clips["text"]))
    if len(texts) >= 10:
        chosen = rng.choice(texts, size=round(share * len(texts)), replace=False)
        return clips["text"].isin(chosen).to_numpy()
    mask = np.zeros(len(clips), dtype=bool)
    for places in clips.reset_index(drop=True).groupby("emotion").indices.values():
        # An emotion's only clip stays in training, which could not learn it otherwise.
        n = max(1, round(share * len(places))) if len(places) > 1 else 0
        mask[rng.permutation(places)[:n]] = True
    return mask


def possible_protocols(table: pd.DataFrame) -> list[str]:
    """Protocols that the table allows, the one to be judged by first.

    Whoever says the sides in a manifest means them. A single speaker leaves only the random split
    besides, and then every score says so.
    """
    own = ["own-split"] if "split" in table else []
    return own + list(PROTOCOLS[:2] if table["speaker"].nunique() > 1 else PROTOCOLS[1:2])
