"""Who is in train, validation and test.

The question is whether a model works for people it has never heard, so the default protocol,
``speaker-independent``, puts whole speakers into one set. ``random-80-20`` is the protocol of most
published notebooks and is kept for comparison only: the same voices are in training and test.
``own-split`` is what a manifest of one's own says.

Clips that name no speaker, in a corpus where others do, are in no set of a split by speaker:
one of the test speakers may be heard in them (:func:`helpers.corpora.manifest.find_unnamed`).
"""

from __future__ import annotations

import logging

import numpy as np
import pandas as pd

from helpers.columns import PROTOCOLS
from helpers.corpora.folds import name_families, speaker_folds
from helpers.corpora.manifest import find_unnamed
from helpers.errors import UserError
from helpers.parts import name_file

SIDES = ("train", "validation", "test")
UNUSED = "unused"  # in no set
_FEWEST_CLIPS = 20
_LOG = logging.getLogger(__name__)


def make_split(
    table: pd.DataFrame, *, protocol: str = "speaker-independent", fold: int = 1, seed: int = 0
) -> pd.Series:
    """Put clips into train, validation and test.

    Parameters
    ----------
    table : pd.DataFrame
        Utterance table.
    protocol : str, default="speaker-independent"
        One of :data:`helpers.columns.PROTOCOLS`.

        - ``speaker-independent``: fold *k* is the test set and fold *k* + 1 the validation set,
          corpus by corpus. A corpus of two speakers (TESS) has none to spare for validation: there
          a tenth of the training speaker's own texts is used, and the test speaker stays unheard.
        - ``random-80-20``: 80 % train, 20 % test, by chance and stratified by emotion, as in the
          public recipes. A tenth of the training set is set apart for early stopping, so that the
          test set is not used to choose anything. Clips of one file are in one set. An emotion
          of fewer than five files is only learned, since it cannot be in every set.
        - ``own-split``: the sides that a manifest gives in its column ``split``. Without a
          validation set, about a tenth of the training set is set apart for it. A warning names
          the speakers in both sets: the score is then not about people never heard.
    fold : int, default=1
        1-based; counted around where a corpus has fewer folds.
    seed : int, default=0
        Of what is drawn: clips, or the validation texts of a two-speaker corpus.

    Returns
    -------
    pd.Series of str
        ``train``, ``validation`` or ``test``, indexed as ``table``; ``unused`` for what is in no
        set: by speaker, clips that name no speaker where others do, and a training clip that is
        the same recording as a test clip. A warning names the emotions that are tested and that
        nobody says in training.

    Raises
    ------
    UserError
        An unknown protocol, a fold below 1, or a table that does not allow the protocol: a single
        speaker, no column ``split``, a set without clips.

    Examples
    --------
    >>> clips = pd.DataFrame({"path": range(100), "emotion": ["sad", "happy"] * 50})
    >>> clips["path"] = clips["path"].astype(str)
    >>> make_split(clips, protocol="random-80-20").value_counts().to_dict()
    {'train': 72, 'test': 20, 'validation': 8}
    """
    if fold < 1:
        raise UserError(f"fold {fold}: folds are counted from 1")
    if protocol == "speaker-independent":
        split = _split_by_speaker(table, fold, seed)
    elif protocol == "random-80-20":
        split = _split_randomly(table, seed)
    elif protocol == "own-split":
        split = _split_as_given(table, seed)
    else:
        raise UserError(f"protocol {protocol!r}: expected one of {', '.join(PROTOCOLS)}")
    _refuse_empty(split)
    emotions = table["emotion"]
    unlearned = sorted(set(emotions[split == "test"]) - set(emotions[split == "train"]))
    if unlearned:
        n = (emotions[split == "test"].isin(unlearned)).sum()
        names = ", ".join(unlearned)
        said = "nobody in training says %s, so %d test clips cannot be named right"
        _LOG.warning(f"%s, fold %d: {said}", protocol, fold, names, n)
    return split


def _split_by_speaker(table: pd.DataFrame, fold: int, seed: int) -> pd.Series:
    unnamed = find_unnamed(table)
    split = pd.Series("train", index=table.index, name="split").mask(unnamed, UNUSED)
    voices = table[~unnamed]
    voices = voices.assign(family=name_families(voices))
    for family, clips in voices.groupby("family"):
        folds = speaker_folds(clips)
        if len(folds) < 2:
            if voices["family"].nunique() == 1:
                raise UserError(
                    f"{family}: found one speaker ({clips['speaker'].iloc[0]}), expected at least "
                    "two for a speaker-independent split. Name the speakers (column `speaker` of "
                    "a list, folders <emotion>/<speaker>/, or --pattern), or ask for "
                    "the protocol random-80-20 and read the score as that"
                )
            continue  # a lone speaker beside other corpora can only help to train
        test = folds[(fold - 1) % len(folds)]
        split[clips.index[clips["speaker"].isin(test)]] = "test"
        if len(folds) > 2:
            validation = folds[fold % len(folds)]
            split[clips.index[clips["speaker"].isin(validation)]] = "validation"
        else:
            rest = clips[~clips["speaker"].isin(test)]
            split[rest.index[_pick_tenth(rest, seed=seed)]] = "validation"
    copies = _crossing(table, split, "sha256")
    if copies:
        # One recording under two speakers: the test keeps it, training does without.
        there = table["sha256"].isin(copies) & (split != "test")
        split[there] = UNUSED
        names = ", ".join(table.loc[there, "path"][:4])
        _LOG.warning("left out of training, as they are in the test: %s", names)
    return split


def _split_randomly(table: pd.DataFrame, seed: int) -> pd.Series:
    rng = np.random.default_rng(seed)
    files = name_files(table)
    firsts = table[~files.duplicated()]
    split = pd.Series("train", index=table.index, name="split")
    for _, clips in firsts.groupby("emotion"):
        if len(clips) < 5:
            continue
        order = rng.permutation(clips.index.to_numpy())
        n_test = max(1, round(0.2 * len(order)))
        n_validation = max(1, round(0.1 * (len(order) - n_test)))
        split[order[:n_test]] = "test"
        split[order[n_test : n_test + n_validation]] = "validation"
    return split.groupby(files).transform("first").rename("split")


def name_files(table: pd.DataFrame) -> pd.Series:
    """File of each clip: its path without the part of the file, such as ``#t=1.5,3``."""
    return table["path"].map(name_file)


def _split_as_given(table: pd.DataFrame, seed: int) -> pd.Series:
    if "split" not in table:
        raise UserError("own-split: found no column split, expected a manifest that has one")
    split = table["split"].copy()
    if not (split == "validation").any():
        train = table[split == "train"]
        split[train.index[_pick_tenth(train, seed=seed)]] = "validation"
    speakers = _crossing(table, split, "speaker")
    if speakers:
        _LOG.warning("own-split: speakers in training and test: %s", ", ".join(speakers[:8]))
    return split


def check_enough(table: pd.DataFrame) -> None:
    """Refuse a table that nothing can be learned from, in words and before any work.

    Raises
    ------
    UserError
        Fewer than two emotions, or fewer than 20 clips.
    """
    emotions = sorted(set(table["emotion"]))
    if len(emotions) < 2 or len(table) < _FEWEST_CLIPS:
        raise UserError(
            f"found {len(table)} clips of {len(emotions)} emotions ({', '.join(emotions[:5])}), "
            f"expected at least {_FEWEST_CLIPS} clips of two. Record more, or add a corpus, as in "
            "--corpora mine,ravdess"
        )


def check_split(table: pd.DataFrame, split: pd.Series) -> None:
    """Raise unless every set has clips and nothing of the test set is heard in training.

    Neither a speaker of the test set nor, where the table has the contents' ``sha256``, one of its
    recordings under another name may be in another set.

    Raises
    ------
    UserError
        Names the speakers or recordings that cross, or the set that is empty.
    """
    _refuse_empty(split)
    speakers = _crossing(table, split, "speaker")
    if speakers:
        raise UserError(f"speakers in training and test: {', '.join(speakers[:8])}")
    copies = _crossing(table, split, "sha256")
    if copies:
        names = table.loc[table["sha256"].isin(copies), "path"]
        raise UserError(f"the same recording in training and test: {', '.join(names[:4])}")


def _refuse_empty(split: pd.Series) -> None:
    empty = [side for side in SIDES if not (split == side).any()]
    if empty:
        raise UserError(f"no clips in the {' and '.join(empty)} set; the corpus is too small")


def _crossing(table: pd.DataFrame, split: pd.Series, column: str) -> list[str]:
    """Values of ``column`` that are in the test set and in another."""
    if column not in table:
        return []
    known = table[column].dropna()
    sides = split.reindex(known.index)
    return sorted(set(known[sides == "test"]) & set(known[sides.isin(["train", "validation"])]))


def _pick_tenth(clips: pd.DataFrame, *, seed: int) -> np.ndarray:
    """Mask of about a tenth of the clips, whole texts where there are enough of them."""
    rng = np.random.default_rng(seed)
    texts = sorted(set(clips["text"]))
    if len(texts) >= 10:
        few = rng.choice(texts, size=round(0.1 * len(texts)), replace=False)
        return clips["text"].isin(few).to_numpy()
    files = name_files(clips)
    firsts = clips[~files.duplicated()].reset_index()
    chosen: list[int] = []
    for places in firsts.groupby("emotion").indices.values():
        # An emotion's only clip stays in training, which could not learn it otherwise.
        n = max(1, round(0.1 * len(places))) if len(places) > 1 else 0
        chosen.extend(rng.permutation(places)[:n])
    return files.isin(name_files(firsts.iloc[chosen])).to_numpy()


def possible_protocols(table: pd.DataFrame) -> list[str]:
    """Protocols that the table allows, the one to be judged by first.

    Whoever says the sets in a manifest means them. A single speaker leaves only the random split
    besides, and then every score says so.

    Raises
    ------
    UserError
        There is too little to learn from.
    """
    check_enough(table)
    own = ["own-split"] if "split" in table else []
    n_speakers = table.loc[~find_unnamed(table), "speaker"].nunique()
    return own + (PROTOCOLS[:2] if n_speakers > 1 else PROTOCOLS[1:2])
