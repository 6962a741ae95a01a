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

from helpers.corpora import cremad, emodb, four_in_one, ravdess, savee, tess
from helpers.corpora.corpus import Corpus, Remote, locate, not_found
from helpers.corpora.demo import corpus as demo
from helpers.corpora.manifest import find_unnamed, load_folders, load_manifest
from helpers.corpora.table import EMOTIONS, Listing, class_order, find_audio, merge_listings
from helpers.errors import UserError
from helpers.runs import PROJECT_ROOT, data_home

__all__ = [
    "CORPORA",
    "EMOTIONS",
    "Corpus",
    "Listing",
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
    ravdess.SPEECH,
    ravdess.SONG,
    savee.CORPUS,
    tess.CORPUS,
    four_in_one.CORPUS,  # only gathers others
)
#: Every corpus by its name. A new one is a line above.
CORPORA: dict[str, Corpus] = {corpus.name: corpus for corpus in _CORPORA}
ALL = "all"
_LOG = logging.getLogger(__name__)
_Find = Callable[[Path], list[Path]]


def load_corpora(names: str | Iterable[str]) -> pd.DataFrame:
    """Utterance table of one or several corpora.

    What was left out is logged; :func:`load_listing` gives it file by file.

    Parameters
    ----------
    names : str or iterable of str
        Names of :data:`CORPORA` and paths of own data (a manifest CSV, or a folder with one
        folder per emotion; see :mod:`helpers.corpora.manifest`), as a list or separated by commas.
        ``all`` stands for every corpus of people whose recordings are there. A name goes before a
        folder of the same name: write ``./tess`` for the folder. Relative paths are looked for in
        the working folder, the project, and the data folder.

    Returns
    -------
    DataFrame
        Columns :data:`helpers.columns.UTTERANCES`, sorted by path, index 0 … n-1; and ``split``
        where a manifest says the side of every clip.

    Raises
    ------
    UserError
        A corpus has no recordings where it should lie (the message says where to get it), an
        unknown name, one name twice, or own data that cannot be read as such.

    Examples
    --------
    >>> load_corpora("ravdes")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    ...
    helpers.errors.UserError: unknown corpus 'ravdes': known are demo, ...
    """
    find = functools.cache(find_audio)  # RAVDESS speech and song share a folder
    listings, known = {}, set()
    for name in _parse_names(names, find):
        listings[name] = load_listing(name, find=find)
        found = set(listings[name].clips["corpus"])  # several in a gathered one
        _refuse_twice(sorted(found & known))
        known |= found
    merged = merge_listings(listings.values())
    for name, listing in listings.items():
        _warn_of(name, listing.clips)
    _warn_left_out(merged)
    return merged.clips


def load_listing(name: str, *, find: _Find = find_audio) -> Listing:
    """Clips of one corpus, and the files that are not among them; nothing is logged.

    Parameters
    ----------
    name : str
        Name of :data:`CORPORA`, or path of own data, as :func:`parse_names` gives it.
    find : callable
        As for :meth:`helpers.corpora.corpus.Corpus.load`.

    Raises
    ------
    UserError
        As :func:`load_corpora`.
    """
    if name in CORPORA:
        corpus = CORPORA[name]
        root = locate(corpus, find=find)
        listing = corpus.load(root, find=find)
        if listing.clips.empty:
            raise not_found(corpus, root, unparsed=listing.paths("unparsed"))
        return listing
    path = Path(name)
    listing = load_manifest(path) if path.is_file() else load_folders(path)
    own = listing.clips.loc[0, "corpus"]
    if own in CORPORA:
        raise UserError(
            f"{path}: own data may not be called {own!r}, which is {CORPORA[own].title}. To load "
            f"that corpus from there, set SER_DATA={path.parent} and name it {own!r}; otherwise "
            "rename the file or folder"
        )
    return listing


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
    n_unnamed = find_unnamed(clips).sum()
    if n_unnamed:
        _LOG.warning(
            "%s: %d of %d clips name no speaker. A test on unheard speakers leaves them out, since "
            "nobody knows whether its speakers are heard in them",
            name,
            n_unnamed,
            len(clips),
        )


def _warn_left_out(listing: Listing) -> None:
    for note, why in (("unparsed", "not named by the corpus' rule"), ("missing", "not there")):
        names = [Path(path).name for path in listing.paths(note)]
        if names:
            shown = ", ".join(names[:3]) + (", …" if len(names) > 3 else "")
            _LOG.warning("left out %d files (%s): %s", len(names), why, shown)
