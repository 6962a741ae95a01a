"""Test folds: which speakers of a corpus are tested together."""

from __future__ import annotations

import pandas as pd

from helpers.corpora import CORPORA
from helpers.corpora.manifest import find_unnamed


def name_families(table: pd.DataFrame) -> pd.Series:
    """Name of the group whose speakers are put into folds together: one corpus, or several.

    Corpora that share a speaker are one family (RAVDESS speech and song share their actors). Where
    no corpus has two speakers, all are one: each recording of one person may be a corpus.

    Parameters
    ----------
    table : pd.DataFrame
        Utterance table; ``corpus`` and ``speaker`` are read.

    Returns
    -------
    pd.Series of str
        Indexed as ``table``.
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


def speaker_folds(clips: pd.DataFrame) -> list[list[str]]:
    """Put the speakers of one corpus into test folds.

    Published folds are kept (:attr:`helpers.corpora.Corpus.folds`), as far as their speakers are
    there. Of other corpora, up to five speakers make a fold each; more are taken in turn, women and
    men alternating, into at most six folds of at least two.

    Parameters
    ----------
    clips : pd.DataFrame
        Rows of an utterance table; ``corpus``, ``speaker`` and ``gender`` are read.

    Returns
    -------
    list of list of str

    Examples
    --------
    >>> speaker_folds(pd.DataFrame({"corpus": "own", "speaker": ["b", "a"], "gender": ["", ""]}))
    [['a'], ['b']]
    """
    speakers = clips.drop_duplicates("speaker")
    names = sorted(speakers["speaker"])
    # The parts of one corpus have the same folds.
    for published in {CORPORA[name].folds for name in set(clips["corpus"]) if name in CORPORA}:
        there = [[name for name in fold if name in names] for fold in published]
        folds = [fold for fold in there if fold]
        # A few speakers of one fold are taken as any others.
        if len(folds) > 1 and sum(map(len, folds)) == len(names):
            return folds
    if len(names) <= 5:
        return [[name] for name in names]
    ordered = speakers.sort_values(["gender", "speaker"])["speaker"].tolist()
    n_folds = min(6, len(ordered) // 2)
    return [sorted(ordered[i::n_folds]) for i in range(n_folds)]


def count_folds(table: pd.DataFrame) -> int:
    """Number of folds after which every speaker has been tested once.

    Examples
    --------
    >>> count_folds(pd.DataFrame({"corpus": "own", "speaker": ["a", "b", "c"], "gender": ""}))
    3
    """
    voices = table[~find_unnamed(table)]
    families = voices.groupby(name_families(voices))
    return max(len(speaker_folds(clips)) for _, clips in families)
