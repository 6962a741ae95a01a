"""A published corpus: what is known of it, where it lies, and how its clips are listed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from helpers.corpora.table import AUDIO_SUFFIXES, Listing, find_audio, make_listing, name_few
from helpers.errors import UserError
from helpers.runs import cache_home, data_home

_LOSSLESS = frozenset(".wav .flac .aif .aiff .aifc .caf .au .snd .w64 .rf64".split())


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
        Path of one of its files, and what else is to be known of the folder.
    folder : str
        Folder under :func:`helpers.runs.data_home`; :func:`find_folder` knows other spellings.
    counts : mapping of str to int
        Clips of each emotion in the complete corpus; empty when there is no fixed number.
    speakers : int
        Speakers of the complete corpus.
    parse : callable
        ``parse(name)`` gives a key that is unique to the clip and a row of the utterance table, or
        None when the name does not follow the rule.
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
    archive : str
        Address of the publisher's zip or tar archive; empty when it offers none.
    checksum : str
        ``md5:…`` of the archive, as the publisher states it; empty when none is stated: then the
        archive's own sums and the number of clips are what is checked.
    kaggle : str
        ``owner/dataset`` of a copy on Kaggle, if the corpus is known from there: named in the
        message of a missing corpus, and a name of its folder.
    codes : mapping of str to str
        The publisher's code for each emotion and what it became; empty for the same words.
    aliases : tuple of str
        What the folder is called in copies that go around.
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
    parse: Callable[[str], tuple[str, dict] | None]
    named: Callable[[Path], str] = lambda path: path.stem
    make: Callable[[Path], None] | None = None
    language: str = ""
    voices: str = ""
    heard_by_people: tuple[float, str, str] | None = None
    folds: tuple[tuple[str, ...], ...] = ()
    archive: str = ""
    checksum: str = ""
    kaggle: str = ""
    codes: Mapping[str, str] = field(default_factory=dict)
    aliases: tuple[str, ...] = ()

    @property
    def generated(self) -> bool:
        """Whether it makes itself when missing, so that it needs a folder that can be written."""
        return self.make is not None

    @property
    def n_clips(self) -> int:
        """Clips of the complete corpus; 0 when there is no fixed number."""
        return sum(self.counts.values())

    def load(self, root: Path, *, make: bool = True) -> Listing:
        """List the clips under ``root``; there are none where the folder is not there.

        A generated corpus is made there first, when it is missing, unless it may not.
        """
        if self.make and make:
            self.make(root)
        return self.list_files(find_audio(root))

    def list_files(self, files: Iterable[Path]) -> Listing:
        """List those of some audio files that are its clips; labels are read off the names.

        A clip that lies in several folders, or as both WAV and FLAC, counts once.
        """
        rows, left_out = {}, []
        # CREMA-D has an MP3 beside each WAV, some blank. Among equals the shallowest copy wins, so
        # that a second unpacking below it changes nothing.
        found = [(path.suffix.lower() not in _LOSSLESS, len(path.parts), path) for path in files]
        for _, _, path in sorted(found):
            key, row = self.parse(self.named(path)) or (None, None)
            if row is None:
                left_out.append((str(path), "unparsed"))
            elif row["corpus"] != self.name:
                continue
            elif key in rows:
                left_out.append((str(path), "copy"))
            else:
                rows[key] = {"path": str(path), **row}
        return make_listing(rows.values(), left_out)


def locate(corpus: Corpus) -> Path:
    """Folder where a corpus lies under :func:`helpers.runs.data_home`, or where it is to lie.

    It is found however it is spelled. A generated corpus lies among the other made things, never
    where people keep their recordings. ``SER_DATA`` may be the folder of the corpus itself.
    """
    if corpus.generated:
        return cache_home() / corpus.folder
    home = data_home()
    return find_folder(home, corpus) or (home if _lies_in(home, corpus) else home / corpus.folder)


def find_folder(home: Path, corpus: Corpus) -> Path | None:
    """Folder of ``corpus`` directly under ``home``, None when there is no such folder.

    ``corpus.folder`` goes first, then any of its names (the Kaggle copy's is one) however written:
    ``CREMA-D`` is ``cremad``. Of several folders, the first that has a clip of it.
    """
    also = (*corpus.aliases, corpus.kaggle.rpartition("/")[2] or corpus.folder)
    names = {_letters(name) for name in (corpus.folder, *also)}
    found = [path for path in home.glob("[!.]*") if _letters(path.name) in names and path.is_dir()]
    found.sort(key=lambda path: (path.name != corpus.folder, path))
    if len(found) > 1:
        found = [path for path in found if not corpus.load(path).clips.empty] or found
    return found[0] if found else None


def _lies_in(home: Path, corpus: Corpus) -> bool:
    """Whether ``home`` is itself the corpus: most recordings in it or right below are its clips."""
    paths = [*home.glob("*.*"), *home.glob("*/*.*")]
    paths = [path for path in paths if path.suffix.lower() in AUDIO_SUFFIXES]
    listing = corpus.list_files(paths)
    return not listing.clips.empty and 2 * len(listing.paths("unparsed")) < len(paths)


def _letters(name: str) -> str:
    return "".join(filter(str.isalnum, name.lower()))


def not_found(corpus: Corpus, root: Path, unparsed: Iterable[str] = ()) -> UserError:
    """Explain a missing corpus: what was looked for and where, and how to get it.

    Parameters
    ----------
    corpus : Corpus
    root : Path
        Where it was looked for.
    unparsed : iterable of str
        Paths of audio files that are there and not named by its rule.
    """
    names = [Path(path).name for path in unparsed]
    if not root.exists():
        found = "the folder does not exist"
    elif names:
        found = f"{len(names)} audio files there, none named by its rule ({name_few(names)})"
    else:
        found = "the folder has no clip of it"
    fetch = f"ser corpora get {corpus.name}, or by hand: " if corpus.archive else ""
    copy = f" or https://www.kaggle.com/datasets/{corpus.kaggle}" if corpus.kaggle else ""
    return UserError(
        f"corpus {corpus.name!r} ({corpus.title}) not found: looked in {root}, {found}.\n"
        f"  Get it:   {fetch}{corpus.url}{copy}\n"
        f"  Licence:  {corpus.licence}\n"
        f"  Expected: {corpus.layout}\n"
        f"  Is it elsewhere? Set SER_DATA to the folder that holds {corpus.folder}/, for example\n"
        f"    SER_DATA=/my/recordings ser run --corpora {corpus.name}\n"
        "  No recordings at hand? --corpora demo makes its own."
    )
