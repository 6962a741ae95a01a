"""What every corpus module shares: the table's columns, the vocabulary, the errors, the search."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
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
_LOSSY = AUDIO_SUFFIXES - {".wav", ".flac", ".aif", ".aiff", ".caf"}


class CorpusError(ValueError):
    """A corpus cannot be used as asked; the message says why and what to do."""


class CorpusNotFoundError(CorpusError):
    """The recordings are not there; the message says where to get them and where to put them."""


@dataclass(frozen=True)
class Remote:
    """A file that the publisher offers for download.

    Parameters
    ----------
    url : str
    checksum : str
        ``md5:…`` or ``sha256:…``, as the publisher states it; empty when none is stated: then the
        archive's own sums and the number of clips are what is checked.
    size : int
        Bytes, to look at the free disk before; 0 when the publisher does not state it: then what
        the server says is believed.
    folder : str
        Where its members go, below the corpus' folder; the folder itself when empty.
    """

    url: str
    checksum: str
    size: int
    folder: str = ""


@dataclass(frozen=True)
class Dataverse:
    """A corpus that its publisher offers file by file, on a server that runs Dataverse.

    Its list of the files, with the size and checksum of each, is read when they are fetched.

    Parameters
    ----------
    site : str
        Address of the server, without a slash at the end.
    doi : str
        Identifier of the dataset, ``doi:…``.

    Examples
    --------
    >>> Dataverse("https://example.org", "doi:10.5072/A/B").listing
    'https://example.org/api/datasets/:persistentId/?persistentId=doi:10.5072/A/B'
    """

    site: str
    doi: str

    @property
    def listing(self) -> str:
        """Address of the list of its files."""
        return f"{self.site}/api/datasets/:persistentId/?persistentId={self.doi}"

    @property
    def page(self) -> str:
        """Address of the dataset for people with a browser."""
        return f"https://doi.org/{self.doi.removeprefix('doi:')}"


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
        Folder under :func:`helpers.runs.data_home`; :func:`find_folder` knows other spellings.
    counts : mapping of str to int
        Clips of each emotion in the complete corpus; empty when there is no fixed number.
    speakers : int
        Speakers of the complete corpus.
    load : callable
        ``load(root)`` gives the utterance table of the corpus folder ``root``; an empty table
        when nothing is there. Files that do not follow the naming rule are listed in
        ``table.attrs["unparsed"]``.
    generated : bool
        The corpus makes itself when missing, so it must lie in a folder that can be written.
    remotes : tuple of Remote
        The publisher's archives, all of which are needed; empty when it offers none.
    dataverse : Dataverse, optional
        The publisher's dataset, if it offers the recordings file by file.
    kaggle : str
        ``owner/dataset`` of a copy on Kaggle, if the corpus is known from there.
    left_out : mapping of str to str
        Codes of the publisher that have no place in :data:`EMOTIONS`, and why.
    codes : mapping of str to str
        The publisher's code for each emotion and what it became; empty for the same words.
    aliases : tuple of str
        What the folder is called in copies that go around.
    parts : tuple of Corpus
        The corpora that this one only gathers; each keeps its own name in the table.
    language, voices : str
        What is spoken, and who speaks, for the model card; all voices of published corpora act.
    heard_by_people : tuple of float, str and str, optional
        How often people who only hear a clip name the intended emotion: the share, in words, and
        its source.
    """

    name: str
    title: str
    licence: str
    citation: str
    url: str
    layout: str
    folder: str
    counts: Mapping[str, int]
    speakers: int
    load: Callable[[Path], pd.DataFrame]
    generated: bool = False
    remotes: tuple[Remote, ...] = ()
    dataverse: Dataverse | None = None
    kaggle: str = ""
    left_out: Mapping[str, str] = field(default_factory=dict)
    codes: Mapping[str, str] = field(default_factory=dict)
    aliases: tuple[str, ...] = ()
    parts: tuple[Corpus, ...] = ()
    language: str = ""
    voices: str = ""
    heard_by_people: tuple[float, str, str] | None = None

    @property
    def n_clips(self) -> int:
        """Clips of the complete corpus; 0 when there is no fixed number."""
        return sum(self.counts.values())

    @property
    def is_offered(self) -> bool:
        """Whether it can be fetched from its publisher."""
        return bool(self.remotes or self.dataverse)


def locate(corpus: Corpus) -> Path:
    """Folder of a corpus under :func:`helpers.runs.data_home`, however it is spelled.

    A generated corpus need not be there yet; it goes to ``data/`` of the project when ``SER_DATA``
    is read-only. The folder of a gathered corpus may also be the one in which its parts lie.

    Raises
    ------
    CorpusNotFoundError
        The folder is not there; the message says where to get the recordings.
    """
    home = data_home()
    if corpus.generated:
        return (home if _is_writable(home) else PROJECT_ROOT / "data") / corpus.folder
    root = find_folder(home, corpus)
    if root is None and corpus.parts and all(find_folder(home, part) for part in corpus.parts):
        root = home
    if root is None:
        raise not_found(corpus, home / corpus.folder)
    return root


def find_folder(home: Path, corpus: Corpus) -> Path | None:
    """Folder of ``corpus`` directly under ``home``, None when there is no such folder.

    ``corpus.folder`` goes first, then any of its names (the Kaggle copy's is one) however written:
    ``CREMA-D`` is ``cremad``. Of several folders, the first that has a clip of it.
    """
    found = [home / corpus.folder] if (home / corpus.folder).is_dir() else []
    names = map(_letters, (corpus.folder, *corpus.aliases, corpus.kaggle.rpartition("/")[2]))
    with suppress(OSError):  # no such home, or not ours to read
        folders = sorted(p for p in home.iterdir() if p.is_dir() and not p.name.startswith("."))
        found += [path for name in names if name for path in folders if _letters(path.name) == name]
    found = list(dict.fromkeys(found))
    if len(found) > 1:
        found = [path for path in found if not corpus.load(path).empty] or found
    return found[0] if found else None


def _letters(name: str) -> str:
    return "".join(filter(str.isalnum, name.lower()))


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
    root: str | Path,
    *,
    corpus: str,
    parse: Callable[[str], tuple[str, dict] | None],
    named: Callable[[Path], str] = lambda path: path.stem,
) -> pd.DataFrame:
    """Utterance table of a corpus whose labels are in its file names; folders do not matter.

    Parameters
    ----------
    root : path
        Folder of the corpus; need not exist.
    corpus : str
        Rows of this corpus are kept: one folder may hold several parts.
    parse : callable
        ``parse(name)`` gives a key that is unique to the clip and a row, or None when the name
        does not follow the rule.
    named : callable
        Name of a file as the rule reads it; the file name without suffix, if not given.

    Returns
    -------
    DataFrame
        ``attrs["unparsed"]`` lists the paths of files not named by the rule,
        ``attrs["duplicates"]`` the copies that were left out: a clip that lies in several folders,
        or as both WAV and FLAC, counts once.
    """
    rows, unparsed, duplicates = {}, [], []
    # CREMA-D has an MP3 beside each WAV, some blank. Among equals the shallowest copy wins, so that
    # a second unpacking below it changes nothing.
    found = [(path.suffix.lower() in _LOSSY, len(path.parts), path) for path in find_audio(root)]
    for _, _, path in sorted(found):
        parsed = parse(named(path))
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
    fetch = f"ser corpora get {corpus.name}, or by hand: " if corpus.is_offered else ""
    copy = f" or https://www.kaggle.com/datasets/{corpus.kaggle}" if corpus.kaggle else ""
    return CorpusNotFoundError(
        f"corpus {corpus.name!r} ({corpus.title}) not found: looked in {root}, {found}.\n"
        f"  Get it:   {fetch}{corpus.url}{copy}\n"
        f"  Licence:  {corpus.licence}\n"
        f"  Expected:\n{layout}\n"
        f"  Is it elsewhere? Set SER_DATA to the folder that holds {corpus.folder}/, for example\n"
        f"    SER_DATA=/my/recordings ser run --corpora {corpus.name}\n"
        "  No recordings at hand? --corpora demo makes its own."
    )
