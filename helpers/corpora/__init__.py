"""Corpora as utterance tables: a row a clip, labels from the published naming rules.

``load_corpora("ravdess,tess")`` gives one table of both, ``load_corpora("all")`` all that is there.
A corpus is a module of this package with a :class:`Corpus` called ``CORPUS``, or several in a tuple
``CORPORA``; it is found by being there. No audio is read here.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from helpers.corpora import cremad, emodb, four_in_one, manifest, ravdess, savee, tess
from helpers.corpora.demo import corpus as demo
from helpers.corpora.manifest import UNKNOWN_SPEAKER, load_manifest
from helpers.corpora.overview import describe_corpora, map_emotions, pick_contrast
from helpers.corpora.table import (
    COLUMNS,
    EMOTIONS,
    Corpus,
    CorpusError,
    CorpusNotFoundError,
    Remote,
    find_audio,
    locate,
    not_found,
)
from helpers.runs import PROJECT_ROOT, data_home

__all__ = [
    "COLUMNS",
    "CORPORA",
    "EMOTIONS",
    "UNKNOWN_SPEAKER",
    "Corpus",
    "CorpusError",
    "CorpusNotFoundError",
    "Remote",
    "class_order",
    "describe_corpora",
    "find_audio",
    "load_corpora",
    "load_manifest",
    "locate",
    "map_emotions",
    "parse_names",
    "pick_contrast",
]

#: Every corpus by its name; filled at the end of this module, by what lies beside it.
CORPORA: dict[str, Corpus] = {}
ALL = "all"
_NOTES = ("unparsed", "duplicates", "missing")
_LOG = logging.getLogger(__name__)


def load_corpora(names: str | Iterable[str]) -> pd.DataFrame:
    """Utterance table of one or several corpora.

    Parameters
    ----------
    names : str or iterable of str
        Names of :data:`CORPORA` and paths of own data (a manifest CSV, or a folder with one
        folder an emotion; see :mod:`helpers.corpora.manifest`), as a list or separated by commas.
        ``all`` stands for every corpus of people whose recordings are there. A name goes before a
        folder of the same name: write ``./tess`` for the folder. Relative paths are looked for in
        the working folder, the project, and the data folder.

    Returns
    -------
    DataFrame
        Columns :data:`COLUMNS`, sorted by path, index 0 … n-1; and ``split`` where a manifest
        says the side of every clip. ``attrs`` lists the paths that were left out: ``unparsed``
        (audio files not named by the corpus' rule), ``duplicates`` (further copies of a clip),
        ``missing`` (listed in a manifest, but not there).

    Raises
    ------
    CorpusNotFoundError
        A corpus has no recordings where it should lie; the message says where to get it.
    CorpusError
        An unknown name, one name twice, or own data that cannot be read as such.

    Examples
    --------
    >>> load_corpora("ravdes")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    ...
    helpers.corpora.table.CorpusError: unknown corpus 'ravdes': known are demo, ...
    """
    tables, known = [], set()
    for item in parse_names(names):
        table = _load_one(item)
        _log_incomplete(item, len(table))
        found = set(table["corpus"])  # several in a gathered one
        if twice := sorted(found & known):
            raise _twice(twice[0])
        known |= found
        tables.append(table)
    merged = pd.concat(tables).sort_values("path", kind="stable", ignore_index=True)
    if "split" in merged:  # one's own sides hold only where every clip has one
        merged = merged.drop(columns="split") if merged["split"].isna().any() else merged
    # Two parts of one folder meet the same stray files: report each once.
    merged.attrs = {
        note: list(dict.fromkeys(path for table in tables for path in table.attrs.get(note, ())))
        for note in _NOTES
    }
    _log_left_out(merged.attrs)
    return merged


def class_order(labels: Iterable[str]) -> list[str]:
    """Distinct labels in display order: :data:`EMOTIONS` first, then own names sorted.

    Examples
    --------
    >>> class_order(["sad", "Freude", "neutral", "sad"])
    ['neutral', 'sad', 'Freude']
    """
    labels = set(labels)
    return [e for e in EMOTIONS if e in labels] + sorted(labels.difference(EMOTIONS))


def parse_names(names: str | Iterable[str]) -> list[str]:
    """Corpora one by one: names of :data:`CORPORA`, own data as absolute paths, ``all`` in full.

    Parameters
    ----------
    names : str or iterable of str
        As in :func:`load_corpora`.

    Raises
    ------
    CorpusError
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
    names = [str(name).strip() for name in names]
    names = [found for name in names if name for found in _resolve(name)]
    if not names:
        raise CorpusError(f"no corpus named: known are {', '.join(CORPORA)}, {ALL}, or a path")
    for place, name in enumerate(names):
        if name in names[:place]:
            raise _twice(name)
    return names


def _resolve(name: str) -> list[str]:
    if name == ALL:
        return _all_there()
    return [name if name in CORPORA else _own_path(name)]


def _all_there() -> list[str]:
    """Names of the corpora of people that have clips here; a gathered one would repeat them."""
    wanted = [corpus for corpus in CORPORA.values() if not (corpus.generated or corpus.parts)]
    names = [corpus.name for corpus in wanted if _is_there(corpus)]
    if not names:
        raise CorpusError(
            f"corpora {ALL!r}: found none of {', '.join(corpus.name for corpus in wanted)} in "
            f"{data_home()}. Put one there (data/README.md says where to get it), set SER_DATA to "
            "the folder that holds them, or use --corpora demo, which makes its own"
        )
    return names


def _is_there(corpus: Corpus) -> bool:
    try:
        return not corpus.load(locate(corpus)).empty
    except CorpusNotFoundError:
        return False


def _own_path(item: str) -> str:
    path = _find_own(item)
    if path is None:
        raise CorpusError(
            f"unknown corpus {item!r}: known are {', '.join(CORPORA)}, {ALL}, or the path of a "
            "manifest CSV (path,emotion,…) or of a folder with one folder an emotion; no such file "
            f"or folder in {Path.cwd()} or {data_home()}"
        )
    return os.path.abspath(path)


def _twice(name: str) -> CorpusError:
    return CorpusError(
        f"corpus name {name!r} is given twice: name each corpus once (a gathered one holds others),"
        " and rename your own data (its CSV or folder) if it is called like another"
    )


def _load_one(item: str) -> pd.DataFrame:
    if item in CORPORA:
        corpus = CORPORA[item]
        root = locate(corpus)
        table = corpus.load(root)
        if table.empty:
            raise not_found(corpus, root, unparsed=table.attrs.get("unparsed", ()))
        return table
    path = Path(item)
    table = manifest.load_manifest(path) if path.is_file() else manifest.load_folders(path)
    name = table.loc[0, "corpus"]
    if name in CORPORA:
        raise CorpusError(
            f"{path}: own data may not be called {name!r}, which is {CORPORA[name].title}. To load "
            f"that corpus from there, set SER_DATA={path.parent} and name it {name!r}; otherwise "
            "rename the file or folder"
        )
    return table


def _find_own(item: str) -> Path | None:
    for home in (Path.cwd(), PROJECT_ROOT, data_home()):
        path = home / Path(item).expanduser()
        try:
            if path.is_file() or path.is_dir():
                return path
        except (OSError, ValueError):  # too long a name, or a NUL in it: no such path
            return None
    return None


def _log_incomplete(name: str, n_clips: int) -> None:
    expected = CORPORA[name].n_clips if name in CORPORA else 0
    if expected and n_clips != expected:
        _LOG.warning("%s: %d clips there, the complete corpus has %d", name, n_clips, expected)


def _log_left_out(attrs: dict[str, list[str]]) -> None:
    for note, why in (("unparsed", "not named by the corpus' rule"), ("missing", "not there")):
        if paths := attrs[note]:
            _LOG.warning(
                "left out %d files (%s): %s%s",
                *(len(paths), why, ", ".join(Path(path).name for path in paths[:3])),
                ", …" if len(paths) > 3 else "",
            )


#: Every corpus: the demo first, what only gathers others last. A new one is a line here.
CORPORA.update(
    {
        corpus.name: corpus
        for corpus in (
            demo.CORPUS,
            cremad.CORPUS,
            emodb.CORPUS,
            ravdess.SPEECH,
            ravdess.SONG,
            savee.CORPUS,
            tess.CORPUS,
            four_in_one.CORPUS,
        )
    }
)
