"""A published corpus: what is known of it, where it lies, and how its clips are listed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from helpers.corpora.table import (
    AUDIO_SUFFIXES,
    Listing,
    find_audio,
    list_by_file_name,
    merge_listings,
)
from helpers.errors import UserError
from helpers.runs import cache_home, data_home

_Find = Callable[[Path], list[Path]]


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
    parse : callable, optional
        ``parse(name)`` gives a key that is unique to the clip and a row of the utterance table, or
        None when the name does not follow the rule. Only a gathered corpus has none.
    named : callable
        Name of a file as ``parse`` reads it; the file name without suffix, if not given.
    make : callable, optional
        ``make(root)`` makes a corpus that is generated, unless it is there.
    language, voices : str
        What is spoken and by whom, such as ``German`` and ``ten actors say ten sentences``.
    heard_by_people : tuple of (float, str, str), optional
        Share of the clips in which people heard the intended emotion, from the sound alone; the
        same as text, and the source.
    folds : tuple of tuple of str
        Published test folds, as speakers of the table; empty when there are none.
    remotes : tuple of Remote
        The publisher's archives, all of which are needed; empty when it offers none.
    dataverse : Dataverse, optional
        The publisher's dataset, if it offers the recordings file by file.
    kaggle : str
        ``owner/dataset`` of a copy on Kaggle, if the corpus is known from there.
    codes : mapping of str to str
        The publisher's code for each emotion and what it became; empty for the same words.
    aliases : tuple of str
        What the folder is called in copies that go around.
    parts : tuple of Corpus
        The corpora that this one only gathers; each keeps its own name in the table.
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
    parse: Callable[[str], tuple[str, dict] | None] | None = None
    named: Callable[[Path], str] = lambda path: path.stem
    make: Callable[[Path], None] | None = None
    language: str = ""
    voices: str = ""
    heard_by_people: tuple[float, str, str] | None = None
    folds: tuple[tuple[str, ...], ...] = ()
    remotes: tuple[Remote, ...] = ()
    dataverse: Dataverse | None = None
    kaggle: str = ""
    codes: Mapping[str, str] = field(default_factory=dict)
    aliases: tuple[str, ...] = ()
    parts: tuple[Corpus, ...] = ()

    @property
    def generated(self) -> bool:
        """Whether it makes itself when missing, so that it needs a folder that can be written."""
        return self.make is not None

    @property
    def n_clips(self) -> int:
        """Clips of the complete corpus; 0 when there is no fixed number."""
        return sum(self.counts.values())

    @property
    def is_offered(self) -> bool:
        """Whether it can be fetched from its publisher."""
        return bool(self.remotes or self.dataverse)

    def load(self, root: Path, *, find: _Find = find_audio) -> Listing:
        """List the clips under ``root``; there are none where the folder is not there.

        Parameters
        ----------
        root : Path
            Folder of the corpus. A generated corpus is made there first, when it is missing.
        find : callable
            Gives the audio files under a folder. Who loads several corpora passes one that
            remembers: some share a folder.
        """
        if self.make:
            self.make(root)
        if self.parts:
            listings = []
            for part in self.parts:
                folder = find_folder(root, part, find=find) or root / part.folder
                listings.append(part.load(folder, find=find))
            return merge_listings(listings)
        return list_by_file_name(find(root), corpus=self.name, parse=self.parse, named=self.named)


def locate(corpus: Corpus, *, find: _Find = find_audio) -> Path:
    """Folder where a corpus lies under :func:`helpers.runs.data_home`, or where it is to lie.

    It is found however it is spelled. A generated corpus lies among the other made things, never
    where people keep their recordings. The folder of a gathered corpus may also be the one in
    which its parts lie, and ``SER_DATA`` may be the folder of the corpus itself.
    """
    if corpus.generated:
        return cache_home() / corpus.folder
    home = data_home()
    root = find_folder(home, corpus, find=find)
    if root:
        return root
    if corpus.parts and all(find_folder(home, part, find=find) for part in corpus.parts):
        return home
    if _lies_in(home, corpus):
        return home
    return home / corpus.folder


def find_folder(home: Path, corpus: Corpus, *, find: _Find = find_audio) -> Path | None:
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
        found = [path for path in found if not corpus.load(path, find=find).clips.empty] or found
    return found[0] if found else None


def _lies_in(home: Path, corpus: Corpus) -> bool:
    """Whether ``home`` is itself the corpus: most recordings in it or right below are its clips."""
    if corpus.parse is None:
        return False
    paths = [*home.glob("*.*"), *home.glob("*/*.*")]
    parsed = [
        corpus.parse(corpus.named(path)) for path in paths if path.suffix.lower() in AUDIO_SUFFIXES
    ]
    own = [found for found in parsed if found and found[1]["corpus"] == corpus.name]
    return 2 * len(own) > len(parsed)


def _letters(name: str) -> str:
    return "".join(filter(str.isalnum, name.lower()))


def not_found(corpus: Corpus, root: Path, *, unparsed: Iterable[str] = ()) -> UserError:
    """Explain a missing corpus: what was looked for and where, and how to get it.

    Parameters
    ----------
    corpus : Corpus
    root : Path
        Where it was looked for.
    unparsed : iterable of str
        Paths of audio files that are there and not named by its rule.
    """
    unparsed = [Path(path).name for path in unparsed]
    if not root.exists():
        found = "the folder does not exist"
    elif unparsed:
        names = ", ".join(unparsed[:3])
        found = f"{len(unparsed)} audio files there, none named by its rule ({names})"
    else:
        found = "the folder has no clip of it"
    layout = "\n".join(f"    {line}" for line in corpus.layout.strip("\n").splitlines())
    fetch = f"ser corpora get {corpus.name}, or by hand: " if corpus.is_offered else ""
    copy = f" or https://www.kaggle.com/datasets/{corpus.kaggle}" if corpus.kaggle else ""
    return UserError(
        f"corpus {corpus.name!r} ({corpus.title}) not found: looked in {root}, {found}.\n"
        f"  Get it:   {fetch}{corpus.url}{copy}\n"
        f"  Licence:  {corpus.licence}\n"
        f"  Expected:\n{layout}\n"
        f"  Is it elsewhere? Set SER_DATA to the folder that holds {corpus.folder}/, for example\n"
        f"    SER_DATA=/my/recordings ser run --corpora {corpus.name}\n"
        "  No recordings at hand? --corpora demo makes its own."
    )
