"""Corpora as utterance tables: one row per clip, labels from the published naming rules.

``load_corpora("ravdess,tess")`` gives one table of both, ``load_corpora("all")`` all that is there.
A corpus is a module of this package with a :class:`Corpus`, imported and named in the tuple below.
No audio is read here.
"""

from __future__ import annotations

import logging
import os
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from helpers.columns import RESERVED
from helpers.corpora import cremad, demo, emodb, nemo, ravdess, savee, tess
from helpers.corpora.corpus import Corpus, locate, not_found
from helpers.corpora.folders import load_folders
from helpers.corpora.labels import AS_WRITTEN, Reading, rename_emotions, unify_labels
from helpers.corpora.manifest import find_unnamed, load_manifest
from helpers.corpora.table import (
    COMPANIONS,
    REASONS,
    UNKNOWN_SPEAKER,
    Listing,
    class_order,
    merge_listings,
    name_few,
)
from helpers.errors import UserError
from helpers.runs import PROJECT_ROOT, data_home

_CORPORA = (
    demo.CORPUS,
    cremad.CORPUS,
    emodb.CORPUS,
    nemo.CORPUS,
    ravdess.SPEECH,
    ravdess.SONG,
    savee.CORPUS,
    tess.CORPUS,
)
#: Every corpus by its name. A new one is a line above.
CORPORA: dict[str, Corpus] = {corpus.name: corpus for corpus in _CORPORA}
ALL = "all"
_FEW = 5
_LOG = logging.getLogger(__name__)


def load_corpora(names: str | Iterable[str], reading: Reading = AS_WRITTEN) -> pd.DataFrame:
    """Utterance table of one or several corpora.

    What was left out is logged; :func:`load_listing` gives it file by file.

    Parameters
    ----------
    names : str or iterable of str
        Names of :data:`CORPORA` and paths of own data (a list, see
        :mod:`helpers.corpora.manifest`, or a folder, see :mod:`helpers.corpora.folders`), as a
        list or separated by commas. ``all`` stands for every corpus of people whose recordings
        are there. A name goes before a folder of the same name: write ``./tess`` for the folder.
        Relative paths are looked for in the working folder, the project, and the data folder.
    reading : Reading
        How labels are read, renamed and chosen.

    Returns
    -------
    DataFrame
        Columns :data:`helpers.columns.UTTERANCES`, sorted by path, index 0 … n-1; and ``split``
        where own data says the set of every clip.

    Raises
    ------
    UserError
        A corpus has no recordings where it should lie (the message says where to get it), an
        unknown name, one name twice, own data that cannot be read as such, or an emotion to keep
        that no clip has.

    Examples
    --------
    >>> load_corpora("ravdes")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    ...
    helpers.errors.UserError: unknown corpus 'ravdes': known are demo, ...
    """
    listings = {name: load_listing(name, reading) for name in parse_names(names)}
    # A folder of several published corpora holds several.
    _refuse_twice([c for listing in listings.values() for c in listing.clips["corpus"].unique()])
    for name, listing in listings.items():
        for odd in find_odd(name, listing.clips):
            _LOG.warning("%s: %s", name, odd)
    merged = merge_listings(listings.values())
    clips, renamed = unify_labels(merged.clips, keep=reading.renamed().values())
    if renamed:
        pairs = ", ".join(f"{old}={new}" for old, new in renamed.items())
        _LOG.warning(
            "one emotion for what means the same: %s. To keep one: --map anger=anger", pairs
        )
    there = class_order(clips["emotion"])
    kept = reading.kept() or there
    absent = [label for label in kept if label not in there]
    if absent:
        raise UserError(f"emotions {', '.join(absent)}: no clip has them, but {', '.join(there)}")
    other = clips.loc[~clips["emotion"].isin(kept), ["path"]].assign(why="emotion")
    _warn_left_out(Listing(clips, pd.concat([merged.left_out, other])))
    return clips.drop(other.index).reset_index(drop=True)


def load_listing(name: str, reading: Reading = AS_WRITTEN) -> Listing:
    """Clips of one corpus with renamed labels, and the files that are not among them.

    Parameters
    ----------
    name : str
        Name of :data:`CORPORA`, or path of own data, as :func:`parse_names` gives it.
    reading : Reading
        How labels are read and renamed.

    Raises
    ------
    UserError
        As :func:`load_corpora`.
    """
    if name in CORPORA:
        corpus = CORPORA[name]
        root = locate(corpus)
        listing = corpus.load(root)
        if listing.clips.empty:
            raise not_found(corpus, root, listing.paths("unparsed"))
    else:
        if Path(name).is_file():
            listing = load_manifest(name, reading)
        else:
            listing = load_folders(name, _CORPORA, reading)
        _refuse_name(name, listing)
    clips = rename_emotions(listing.clips, reading.renamed())
    reserved = sorted(set(clips["emotion"]) & RESERVED)
    if reserved:
        raise UserError(
            f"{name}: emotions may not be called {', '.join(reserved)}, which are columns of the "
            f"project's tables: rename them, as in --map {reserved[0]}=other"
        )
    return Listing(clips, listing.left_out)


def _refuse_name(path: str, listing: Listing) -> None:
    """Refuse own data called like a corpus whose rule its files do not follow."""
    first = listing.clips.iloc[0]
    corpus = CORPORA.get(first["corpus"])
    follows = corpus and corpus.parse(corpus.named(Path(first["path"])))
    if corpus and not follows:
        raise UserError(
            f"{path}: own data may not be called {corpus.name!r}, which is {corpus.title}, and its "
            "files are not named by that corpus' rule: rename the file or folder"
        )


def parse_names(names: str | Iterable[str]) -> list[str]:
    """Corpora one by one: names of :data:`CORPORA`, own data as absolute paths, ``all`` in full.

    Parameters
    ----------
    names : str or iterable of str
        As in :func:`load_corpora`.

    Raises
    ------
    UserError
        Nothing named, a name that is neither known nor a path, one given twice, or ``all`` where
        there is none.

    Examples
    --------
    >>> parse_names("ravdess, tess")
    ['ravdess', 'tess']
    """
    if isinstance(names, str):
        # A path may hold a comma itself.
        names = [names] if "," in names and _find_own(names) else names.split(",")
    found = []
    for name in (str(name).strip() for name in names):
        if name == ALL:
            found += _all_there()
        elif name in CORPORA:
            found.append(name)
        elif name:
            path = _find_own(name)
            if path is None:
                raise UserError(
                    f"unknown corpus {name!r}: known are {', '.join(CORPORA)}, {ALL}, or the path "
                    "of a manifest CSV (path,emotion,…) or of a folder with one folder per "
                    f"emotion; no such file or folder in {Path.cwd()} or {data_home()}"
                )
            found.append(path)
    if not found:
        raise UserError(f"no corpus named: known are {', '.join(CORPORA)}, {ALL}, or a path")
    _refuse_twice(found)
    return found


def _all_there() -> list[str]:
    """Names of the corpora of people that have clips here."""
    wanted = [corpus for corpus in _CORPORA if not corpus.generated]
    names = [c.name for c in wanted if not c.load(locate(c)).clips.empty]
    if not names:
        raise UserError(
            f"corpora {ALL!r}: found none of {', '.join(corpus.name for corpus in wanted)} in "
            f"{data_home()}. Put one there (data/README.md says where to get it), set SER_DATA to "
            "the folder that holds them, or use --corpora demo, which makes its own"
        )
    return names


def _find_own(item: str) -> str | None:
    for home in (Path.cwd(), PROJECT_ROOT, data_home()):
        path = os.path.abspath(home / os.path.expanduser(item))
        if os.path.isfile(path) or os.path.isdir(path):
            return path
    return None


def _refuse_twice(names: list[str]) -> None:
    twice = [name for name, n in Counter(names).items() if n > 1]
    if twice:
        raise UserError(
            f"corpus name {twice[0]!r} is given twice: name each corpus once (a folder may hold "
            "several), and rename your own data (its CSV or folder) if it is called like another"
        )


def find_odd(name: str, clips: pd.DataFrame) -> list[str]:
    """What is odd about the clips of one corpus, in sentences."""
    found = []
    expected = CORPORA[name].n_clips if name in CORPORA else 0
    if expected and len(clips) != expected:
        found.append(f"{len(clips)} clips there, the complete corpus has {expected}")
    if clips["emotion"].nunique() == 1:
        found.append(f"one emotion only, {clips['emotion'].iloc[0]!r}")
    speaks = clips.groupby("speaker")["emotion"].nunique()
    if len(speaks) > 1 and speaks.max() == 1:
        found.append(
            "every speaker speaks one emotion only. Nothing can be learned about emotions from "
            "that: a model tells the voices apart, and strangers score 0"
        )
    counts = clips["emotion"].value_counts()
    few = ", ".join(f"{label} {n}" for label, n in counts[counts < _FEW].items())
    if few:
        found.append(f"emotions of fewer than {_FEW} clips say little: {few}")
    if clips["speaker"].str.endswith(f"-{UNKNOWN_SPEAKER}").all():
        found.append("no clip names its speaker: all are taken for one person")
    unnamed = clips.loc[find_unnamed(clips), "path"]
    if len(unnamed):
        found.append(
            f"{len(unnamed)} of {len(clips)} clips name no speaker "
            f"({name_few(Path(path).name for path in unnamed)}). A test on unheard speakers leaves "
            "them out, since nobody knows whether its speakers are heard in them"
        )
    return found


def _warn_left_out(listing: Listing) -> None:
    for why, words in REASONS.items():
        paths = listing.paths(why)
        if why == "other":
            paths = [path for path in paths if Path(path).suffix.lower() not in COMPANIONS]
        # Published corpora usually have copies.
        if paths and why != "copy":
            names = name_few(Path(path).name for path in paths)
            _LOG.warning("left out %d files (%s): %s", len(paths), words, names)
