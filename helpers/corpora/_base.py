"""What every corpus module shares: the table's columns, the vocabulary, the errors, the search."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from helpers.runs import PROJECT_ROOT, data_home

EMOTIONS = (
    "neutral",
    "calm",
    "happy",
    "sad",
    "angry",
    "fear",
    "disgust",
    "surprise",
    "boredom",
)
COLUMNS = [
    "path",
    "corpus",
    "speaker",
    "gender",
    "emotion",
    "intensity",
    "text",
    "channel",
    "language",
    "duration_s",
]
AUDIO_SUFFIXES = frozenset(
    ".wav .flac .mp3 .ogg .opus .aif .aiff .aac .m4a .mp4 .3gp .webm .wma .caf".split()
)


class CorpusError(ValueError):
    """A corpus cannot be used as asked; the message says why and what to do."""


class CorpusNotFoundError(CorpusError):
    """The recordings are not there; the message says where to get them and where to put them."""


@dataclass(frozen=True)
class Corpus:
    """A published corpus: what it is, where it lies, and how its file names become labels.

    Parameters
    ----------
    name : str
        Short name as in ``--corpora``.
    title, licence, citation, url : str
        Shown in tables and in the message of a missing corpus.
    layout : str
        Expected folder tree, some lines of text.
    folder : str
        Folder under :func:`helpers.runs.data_home`.
    n_clips : int or None
        Number of clips of the complete corpus, None when there is no fixed number.
    load : callable
        ``load(root)`` gives the utterance table of the corpus folder ``root``; an empty table
        when nothing is there. Files that do not follow the naming rule are listed in
        ``table.attrs["unparsed"]``.
    generated : bool
        The corpus makes itself when missing, so it must lie in a folder that can be written.
    """

    name: str
    title: str
    licence: str
    citation: str
    url: str
    layout: str
    folder: str
    n_clips: int | None
    load: Callable[[Path], pd.DataFrame]
    generated: bool = False


def locate(corpus: Corpus) -> Path:
    """Folder of a corpus: ``data_home() / corpus.folder``.

    A generated corpus need not be there yet; it goes to ``data/`` of the project when ``SER_DATA``
    is read-only.

    Raises
    ------
    CorpusNotFoundError
        The folder is not there; the message says where to get the recordings.
    """
    home = data_home()
    if corpus.generated and not _is_writable(home):
        home = PROJECT_ROOT / "data"
    root = home / corpus.folder
    if not corpus.generated and not root.is_dir():
        raise not_found(corpus, root)
    return root


def _is_writable(folder: Path) -> bool:
    folder = folder.absolute()
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    # The mode bits too: root may write anywhere, yet a folder marked read-only is meant to stay.
    return os.access(folder, os.W_OK) and bool(folder.stat().st_mode & 0o222)


def find_audio(root: str | Path) -> list[Path]:
    """All files under ``root`` with an audio suffix, sorted; hidden ones are left out.

    Links to folders are followed once each. A folder that does not exist gives an empty list.
    """
    found, seen = [], set()
    for folder, subfolders, names in os.walk(os.path.abspath(root), followlinks=True):
        status = os.stat(folder)
        if (status.st_dev, status.st_ino) in seen and status.st_ino:
            subfolders.clear()
            continue
        seen.add((status.st_dev, status.st_ino))
        # Unpacking a Mac's archive elsewhere leaves "._x.wav" files that hold no sound.
        subfolders[:] = sorted(s for s in subfolders if not s.startswith((".", "__MACOSX")))
        found += [
            Path(folder, name)
            for name in names
            if not name.startswith(".") and os.path.splitext(name)[1].lower() in AUDIO_SUFFIXES
        ]
    return sorted(found)


def utterance_table(rows: Iterable[dict], **attrs: object) -> pd.DataFrame:
    """Utterance table of ``rows`` sorted by path; what a row does not say is empty text.

    Parameters
    ----------
    rows : iterable of dict
        Keys are names of :data:`COLUMNS`.
    **attrs : object
        Stored in ``table.attrs``.

    Examples
    --------
    >>> table = utterance_table([{"path": "/a.wav", "corpus": "x", "emotion": "sad"}], unparsed=[])
    >>> table.loc[0, ["emotion", "channel", "gender"]].tolist()
    ['sad', 'speech', '']
    """
    defaults = {**dict.fromkeys(COLUMNS, ""), "channel": "speech", "duration_s": float("nan")}
    table = pd.DataFrame([{**defaults, **row} for row in rows], columns=COLUMNS)
    table = table.astype({c: "float64" if c == "duration_s" else "str" for c in COLUMNS})
    table = table.sort_values("path", kind="stable", ignore_index=True)
    table.attrs.update(attrs)
    return table


def table_by_file_name(
    root: str | Path, *, corpus: str, parse: Callable[[str], tuple[str, dict] | None]
) -> pd.DataFrame:
    """Utterance table of a corpus whose labels are in its file names; folders do not matter.

    Parameters
    ----------
    root : path
        Folder of the corpus; need not exist.
    corpus : str
        Rows of this corpus are kept: one folder may hold several parts.
    parse : callable
        ``parse(stem)`` gives a key that is unique to the clip and a row, or None when the name
        does not follow the rule.

    Returns
    -------
    DataFrame
        ``attrs["unparsed"]`` lists the paths of files not named by the rule,
        ``attrs["duplicates"]`` the copies that were left out: a clip that lies in several folders,
        or as both WAV and FLAC, counts once.
    """
    rows, unparsed, duplicates = {}, [], []
    # The shallowest copy wins, so that a second unpacking below it changes nothing.
    for path in sorted(find_audio(root), key=lambda path: (len(path.parts), path)):
        parsed = parse(path.stem)
        if parsed is None:
            unparsed.append(str(path))
            continue
        key, row = parsed
        if row["corpus"] != corpus:
            continue
        if key in rows:
            duplicates.append(str(path))
        else:
            rows[key] = {"path": str(path), **row}
    return utterance_table(rows.values(), unparsed=unparsed, duplicates=duplicates)


def not_found(corpus: Corpus, root: Path, *, unparsed: Iterable[str] = ()) -> CorpusNotFoundError:
    """Explain a missing corpus: what was looked for and where, and how to get it."""
    unparsed = list(unparsed)
    if not root.exists():
        found = "the folder does not exist"
    elif unparsed:
        names = ", ".join(Path(path).name for path in unparsed[:3])
        found = f"{len(unparsed)} audio files there, none named by its rule ({names})"
    else:
        found = "the folder has no clip of it"
    layout = "\n".join(f"    {line}" for line in corpus.layout.strip("\n").splitlines())
    return CorpusNotFoundError(
        f"corpus {corpus.name!r} ({corpus.title}) not found: looked in {root}, {found}.\n"
        f"  Get it:   {corpus.url}\n"
        f"  Licence:  {corpus.licence}\n"
        f"  Expected:\n{layout}\n"
        f"  Is it elsewhere? Set SER_DATA to the folder that holds {corpus.folder}/, for example\n"
        f"    SER_DATA=/my/recordings ser run --corpora {corpus.name}\n"
        "  No recordings at hand? --corpora demo makes its own."
    )
