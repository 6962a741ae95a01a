"""Corpora as utterance tables: a row a clip, labels from the published naming rules.

``load_corpora("ravdess,tess")`` gives one table of both. A corpus is a module with a
:class:`Corpus`; adding one is a small file and a line in :data:`CORPORA`. No audio is read here.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from helpers.corpora import demo, manifest, ravdess, tess
from helpers.corpora._base import (
    COLUMNS,
    EMOTIONS,
    Corpus,
    CorpusError,
    CorpusNotFoundError,
    find_audio,
    locate,
    not_found,
)
from helpers.corpora.manifest import UNKNOWN_SPEAKER, load_manifest
from helpers.corpora.overview import describe_corpora, pick_contrast
from helpers.runs import PROJECT_ROOT, data_home

__all__ = [
    "COLUMNS",
    "CORPORA",
    "EMOTIONS",
    "UNKNOWN_SPEAKER",
    "Corpus",
    "CorpusError",
    "CorpusNotFoundError",
    "class_order",
    "describe_corpora",
    "find_audio",
    "load_corpora",
    "load_manifest",
    "locate",
    "parse_names",
    "pick_contrast",
]

CORPORA: dict[str, Corpus] = {
    corpus.name: corpus for corpus in (demo.CORPUS, ravdess.SPEECH, ravdess.SONG, tess.CORPUS)
}
_NOTES = ("unparsed", "duplicates", "missing")
_LOG = logging.getLogger(__name__)


def load_corpora(names: str | Iterable[str]) -> pd.DataFrame:
    """Utterance table of one or several corpora.

    Parameters
    ----------
    names : str or iterable of str
        Names of :data:`CORPORA` and paths of own data (a manifest CSV, or a folder with one
        folder an emotion; see :mod:`helpers.corpora.manifest`), as a list or separated by commas.
        A name goes before a folder of the same name: write ``./tess`` for the folder. Relative
        paths are looked for in the working folder, the project, and the data folder.

    Returns
    -------
    DataFrame
        Columns :data:`COLUMNS`, sorted by path, index 0 … n-1. ``attrs`` lists the paths that
        were left out: ``unparsed`` (audio files not named by the corpus' rule), ``duplicates``
        (further copies of a clip), ``missing`` (listed in a manifest, but not there).

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
    helpers.corpora._base.CorpusError: unknown corpus 'ravdes': known are demo, ...
    """
    tables = {}
    for item in parse_names(names):
        name, table = _load_one(item)
        if name in tables:
            raise _twice(name)
        tables[name] = table
    merged = pd.concat(tables.values()).sort_values("path", kind="stable", ignore_index=True)
    # Two parts of one folder meet the same stray files: report each once.
    merged.attrs = {
        note: list(dict.fromkeys(p for t in tables.values() for p in t.attrs.get(note, ())))
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
    """Corpora one by one: names of :data:`CORPORA` as they are, own data as absolute paths.

    Parameters
    ----------
    names : str or iterable of str
        As in :func:`load_corpora`.

    Raises
    ------
    CorpusError
        Nothing named, a name that is neither known nor a path, or one given twice.

    Examples
    --------
    >>> parse_names("ravdess, tess")
    ['ravdess', 'tess']
    """
    if isinstance(names, str):
        # A path may hold a comma itself.
        names = [names] if "," in names and _find_own(names) else names.split(",")
    names = [str(name).strip() for name in names]
    names = [name if name in CORPORA else _own_path(name) for name in names if name]
    if not names:
        raise CorpusError(f"no corpus named: known are {', '.join(CORPORA)}, or a path")
    for place, name in enumerate(names):
        if name in names[:place]:
            raise _twice(name)
    return names


def _own_path(item: str) -> str:
    path = _find_own(item)
    if path is None:
        raise CorpusError(
            f"unknown corpus {item!r}: known are {', '.join(CORPORA)}, or the path of a manifest "
            "CSV (path,emotion,…) or of a folder with one folder an emotion; no such file or "
            f"folder in {Path.cwd()} or {data_home()}"
        )
    return os.path.abspath(path)


def _twice(name: str) -> CorpusError:
    return CorpusError(
        f"corpus name {name!r} is given twice: name each corpus once, and rename your own data "
        "(its CSV or folder) if it is called like another"
    )


def _load_one(item: str) -> tuple[str, pd.DataFrame]:
    if item in CORPORA:
        corpus = CORPORA[item]
        root = locate(corpus)
        table = corpus.load(root)
        if table.empty:
            raise not_found(corpus, root, unparsed=table.attrs.get("unparsed", ()))
        if corpus.n_clips is not None and len(table) != corpus.n_clips:
            _LOG.warning(
                "%s: %d clips in %s, the complete corpus has %d",
                *(item, len(table), root, corpus.n_clips),
            )
        return item, table
    path = Path(item)
    table = manifest.load_manifest(path) if path.is_file() else manifest.load_folders(path)
    name = table.loc[0, "corpus"]
    if name in CORPORA:
        raise CorpusError(
            f"{path}: own data may not be called {name!r}, which is {CORPORA[name].title}. To load "
            f"that corpus from there, set SER_DATA={path.parent} and name it {name!r}; otherwise "
            "rename the file or folder"
        )
    return name, table


def _find_own(item: str) -> Path | None:
    for home in (Path.cwd(), PROJECT_ROOT, data_home()):
        path = home / Path(item).expanduser()
        try:
            if path.is_file() or path.is_dir():
                return path
        except (OSError, ValueError):  # too long a name, or a NUL in it: no such path
            return None
    return None


def _log_left_out(attrs: dict[str, list[str]]) -> None:
    for note, why in (("unparsed", "not named by the corpus' rule"), ("missing", "not there")):
        if paths := attrs[note]:
            _LOG.warning(
                "left out %d files (%s): %s%s",
                *(len(paths), why, ", ".join(Path(path).name for path in paths[:3])),
                ", …" if len(paths) > 3 else "",
            )
