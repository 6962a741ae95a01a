"""Corpora as utterance tables: one row per clip, labels from the published naming rules.

``load_corpora("ravdess,tess")`` gives one table of both, ``load_corpora("all")`` all that is there.
A corpus is a module of this package with a :class:`Corpus`, and a line in the tuple below. No audio
is read here.
"""

from __future__ import annotations

import functools
import logging
import os
from collections.abc import Callable, Iterable
from pathlib import Path

import pandas as pd

from helpers.columns import RESERVED
from helpers.corpora import cremad, emodb, four_in_one, nemo, ravdess, savee, tess
from helpers.corpora.corpus import Corpus, Remote, locate, not_found
from helpers.corpora.demo import corpus as demo
from helpers.corpora.folders import load_folders
from helpers.corpora.labels import Reading, rename_emotions, unify_labels
from helpers.corpora.manifest import find_unnamed, load_manifest
from helpers.corpora.table import (
    COMPANIONS,
    EMOTIONS,
    REASONS,
    Listing,
    class_order,
    find_audio,
    merge_listings,
    name_few,
)
from helpers.errors import UserError
from helpers.runs import PROJECT_ROOT, data_home

__all__ = [
    "CORPORA",
    "EMOTIONS",
    "Corpus",
    "Listing",
    "Reading",
    "Remote",
    "class_order",
    "find_audio",
    "load_corpora",
    "load_listing",
    "load_manifest",
    "locate",
    "parse_names",
]

_CORPORA = (
    demo.CORPUS,
    cremad.CORPUS,
    emodb.CORPUS,
    nemo.CORPUS,
    ravdess.SPEECH,
    ravdess.SONG,
    savee.CORPUS,
    tess.CORPUS,
    four_in_one.CORPUS,  # only gathers others
)
#: Every corpus by its name. A new one is a line above.
CORPORA: dict[str, Corpus] = {corpus.name: corpus for corpus in _CORPORA}
ALL = "all"
_FEW = 5
_LOG = logging.getLogger(__name__)
_Find = Callable[[Path], list[Path]]


def load_corpora(names: str | Iterable[str], reading: Reading | None = None) -> pd.DataFrame:
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
    reading : Reading, optional
        How labels are read, renamed and chosen.

    Returns
    -------
    DataFrame
        Columns :data:`helpers.columns.UTTERANCES`, sorted by path, index 0 … n-1; and ``split``
        where own data says the side of every clip.

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
    reading = reading or Reading()
    find = functools.cache(find_audio)  # RAVDESS speech and song share a folder
    listings, known = {}, set()
    for name in _parse_names(names, find):
        listings[name] = load_listing(name, reading=reading, find=find)
        found = set(listings[name].clips["corpus"])  # several in a gathered one
        _refuse_twice(sorted(found & known))
        known |= found
    merged = merge_listings(listings.values())
    for name, listing in listings.items():
        _warn_of(name, listing.clips)
    clips, renamed = unify_labels(merged.clips, keep=reading.renamed().values())
    if renamed:
        pairs = ", ".join(f"{old}={new}" for old, new in renamed.items())
        _LOG.warning(
            "one emotion for what means the same: %s. To keep one: --map anger=anger", pairs
        )
    merged = keep_emotions(Listing(clips, merged.left_out), reading)
    _warn_left_out(merged)
    return merged.clips


def keep_emotions(listing: Listing, reading: Reading) -> Listing:
    """Listing of the clips whose emotion is to be kept; the others are left out as ``emotion``.

    Raises
    ------
    UserError
        An emotion to keep that no clip has.
    """
    clips, kept = listing.clips, reading.kept()
    absent = [label for label in kept if label not in set(clips["emotion"])]
    if absent:
        raise UserError(
            f"emotions {', '.join(absent)}: no clip has them; there are "
            f"{', '.join(class_order(clips['emotion']))}"
        )
    away = ~clips["emotion"].isin(kept) if kept else pd.Series(False, index=clips.index)
    left_out = pd.DataFrame({"path": clips.loc[away, "path"], "why": "emotion"})
    return Listing(
        clips[~away].reset_index(drop=True),
        pd.concat([listing.left_out, left_out], ignore_index=True),
    )


def load_listing(name: str, *, reading: Reading | None = None, find: _Find = find_audio) -> Listing:
    """Clips of one corpus with renamed labels, and the files that are not among them.

    Parameters
    ----------
    name : str
        Name of :data:`CORPORA`, or path of own data, as :func:`parse_names` gives it.
    reading : Reading, optional
        How labels are read and renamed.
    find : callable
        As for :meth:`helpers.corpora.corpus.Corpus.load`.

    Raises
    ------
    UserError
        As :func:`load_corpora`.
    """
    reading = reading or Reading()
    if name in CORPORA:
        corpus = CORPORA[name]
        root = locate(corpus, find=find)
        listing = corpus.load(root, find=find)
        if listing.clips.empty:
            raise not_found(corpus, root, unparsed=listing.paths("unparsed"))
    elif Path(name).is_file():
        listing = load_manifest(name, reading)
        _refuse_name(name, listing)
    else:
        # The parts, not what gathers them.
        single = [corpus for corpus in _CORPORA if not corpus.parts]
        listing = load_folders(name, single, reading)
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
    follows = corpus and corpus.parse and corpus.parse(corpus.named(Path(first["path"])))
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
    return _parse_names(names, functools.cache(find_audio))


def _parse_names(names: str | Iterable[str], find: _Find) -> list[str]:
    if isinstance(names, str):
        # A path may hold a comma itself.
        names = [names] if "," in names and _find_own(names) else names.split(",")
    found = []
    for name in (str(name).strip() for name in names):
        if name == ALL:
            found += _all_there(find)
        elif name:
            found.append(name if name in CORPORA else _own_path(name))
    if not found:
        raise UserError(f"no corpus named: known are {', '.join(CORPORA)}, {ALL}, or a path")
    _refuse_twice([name for place, name in enumerate(found) if name in found[:place]])
    return found


def _all_there(find: _Find) -> list[str]:
    """Names of the corpora of people that have clips here; a gathered one would repeat them."""
    wanted = [corpus for corpus in CORPORA.values() if not (corpus.generated or corpus.parts)]
    names = []
    for corpus in wanted:
        listing = corpus.load(locate(corpus, find=find), find=find)
        if not listing.clips.empty:
            names.append(corpus.name)
    if not names:
        raise UserError(
            f"corpora {ALL!r}: found none of {', '.join(corpus.name for corpus in wanted)} in "
            f"{data_home()}. Put one there (data/README.md says where to get it), set SER_DATA to "
            "the folder that holds them, or use --corpora demo, which makes its own"
        )
    return names


def _own_path(item: str) -> str:
    path = _find_own(item)
    if path is None:
        raise UserError(
            f"unknown corpus {item!r}: known are {', '.join(CORPORA)}, {ALL}, or the path of a "
            "manifest CSV (path,emotion,…) or of a folder with one folder per emotion; no such "
            f"file or folder in {Path.cwd()} or {data_home()}"
        )
    return os.path.abspath(path)


def _find_own(item: str) -> Path | None:
    for home in (Path.cwd(), PROJECT_ROOT, data_home()):
        path = home / Path(item).expanduser()
        try:
            if path.is_file() or path.is_dir():
                return path
        except (OSError, ValueError):  # too long a name, or a NUL in it: no such path
            return None
    return None


def _refuse_twice(names: list[str]) -> None:
    if names:
        raise UserError(
            f"corpus name {names[0]!r} is given twice: name each corpus once (a gathered one holds "
            "others), and rename your own data (its CSV or folder) if it is called like another"
        )


def _warn_of(name: str, clips: pd.DataFrame) -> None:
    """Log what is odd about the clips of one corpus."""
    expected = CORPORA[name].n_clips if name in CORPORA else 0
    if expected and len(clips) != expected:
        _LOG.warning("%s: %d clips there, the complete corpus has %d", name, len(clips), expected)
    if clips["emotion"].nunique() == 1:
        _LOG.warning("%s: one emotion only, %r", name, clips.loc[0, "emotion"])
    speaks = clips.groupby("speaker")["emotion"].nunique()
    if len(speaks) > 1 and speaks.max() == 1:
        _LOG.warning(
            "%s: every speaker speaks one emotion only. Nothing can be learned about emotions from "
            "that: a model tells the voices apart, and strangers score 0",
            name,
        )
    counts = clips["emotion"].value_counts()
    few = ", ".join(f"{label} {n}" for label, n in counts[counts < _FEW].items())
    if few:
        _LOG.warning("%s: emotions of fewer than %d clips say little: %s", name, _FEW, few)
    unnamed = clips.loc[find_unnamed(clips), "path"]
    if len(unnamed):
        _LOG.warning(
            "%s: %d of %d clips name no speaker (%s). A test on unheard speakers leaves them out, "
            "since nobody knows whether its speakers are heard in them",
            name,
            len(unnamed),
            len(clips),
            name_few(Path(path).name for path in unnamed),
        )


def _warn_left_out(listing: Listing) -> None:
    for why, words in REASONS.items():
        paths = listing.paths(why)
        if why == "other":
            paths = [path for path in paths if Path(path).suffix.lower() not in COMPANIONS]
        # Published corpora usually have copies.
        if paths and why != "copy":
            names = name_few(Path(path).name for path in paths)
            _LOG.warning("left out %d files (%s): %s", len(paths), words, names)
