"""Fetch a corpus from its publisher, or a copy of it from Kaggle, and put it in its folder.

All is fetched, checked and unpacked in a hidden folder beside it, ``.ravdess-download``, and put in
place at the end.
"""

from __future__ import annotations

import importlib
import shutil
import sys
import tarfile
import zipfile
from pathlib import Path

from helpers.corpora import CORPORA
from helpers.corpora.corpus import Corpus, locate, not_found
from helpers.corpora.table import find_audio, find_files
from helpers.errors import UserError
from helpers.runs import atomic_folder, atomic_write, data_home, one_at_a_time

# More than recordings unpack to; silence may, if it is short.
_LARGEST_RATIO = 20
_ALWAYS_ALLOWED = 64_000_000
_GIT_LFS_POINTER = b"version https://git-lfs.github.com/spec"


def download_corpus(name: str, *, source: str = "publisher", force: bool = False) -> Path:
    """Fetch a corpus into its folder in :func:`helpers.runs.data_home`.

    A complete corpus is left as it is, without asking the network. What lies in the folder stays;
    only files that come under the same name are replaced. Of two calls at a time, the second waits.
    What happens is said on standard error.

    Parameters
    ----------
    name : str
        One of :data:`helpers.corpora.CORPORA`. A generated one is made.
    source : {"publisher", "kaggle"}
        Kaggle has copies of most corpora, also where the publisher offers no download. Their
        recordings are not compared with a checksum of the publisher, and some ask for a Kaggle
        account.
    force : bool
        Fetch again what is complete.

    Returns
    -------
    Path
        The folder of the corpus, in which clips may be missing after all.

    Raises
    ------
    UserError
        An unknown name, nothing to fetch it from, no connection, a wrong checksum, a full disk, an
        archive that is not safe, or no clip in it. The message says what to do.

    Examples
    --------
    >>> download_corpus("ravdes")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    ...
    helpers.errors.UserError: unknown corpus 'ravdes': known are demo, ...
    """
    if name not in CORPORA:
        raise UserError(
            f"unknown corpus {name!r}: known are {', '.join(CORPORA)}. Your own recordings need no "
            "download: name their folder or manifest instead"
        )
    corpus = CORPORA[name]
    try:
        root = _fetch(corpus, source, force)
        listing = corpus.load(root)
    except OSError as error:
        raise UserError(
            f"corpus {name!r} cannot be put into {data_home()}: {error}. Is the disk full, or the "
            "folder read-only? SER_DATA may name another one"
        ) from error
    if listing.clips.empty:
        raise UserError(f"fetched, but {not_found(corpus, root, listing.paths('unparsed'))}")
    return root


def _fetch(corpus: Corpus, source: str, force: bool) -> Path:
    """Put the corpus in its folder, unless it is complete there, and return the folder."""
    root = locate(corpus)
    if corpus.generated:  # it makes itself when it is loaded
        return root
    if not force and _is_complete(corpus, root):
        _tell(f"{corpus.name}: already complete, nothing to fetch")
        return root
    _check_offer(corpus, root, source)
    if root == data_home():  # gathered from its parts' own folders, which stay as they are
        root = root / corpus.folder
    work = root.parent / f".{corpus.name}-download"
    with one_at_a_time(work):
        if not force and _is_complete(corpus, root):
            _tell(f"{corpus.name}: another process has fetched it")
            return root
        _tell(f"{corpus.name}: {corpus.title}, licence {corpus.licence}")
        if source == "kaggle":
            files = _fetch_from_kaggle(corpus, force)
            # Copies hold other corpora too, or a clip twice: take what the loader would.
            wanted = corpus.load(files).clips["path"]
        else:
            files = _fetch_from_publisher(corpus, work)
            recordings, others = find_files(files)
            wanted = [*recordings, *others]
        for path in map(Path, wanted):
            with atomic_write(root / path.relative_to(files)) as temporary:
                shutil.copyfile(path, temporary)
        shutil.rmtree(work, ignore_errors=True)  # none, if it came from Kaggle
    return root


def _is_complete(corpus: Corpus, root: Path) -> bool:
    return len(corpus.load(root).clips) >= max(1, corpus.n_clips)


def _check_offer(corpus: Corpus, root: Path, source: str) -> None:
    """Refuse what cannot be fetched, before anything is."""
    if source == "kaggle" and not corpus.kaggle:
        raise UserError(f"no copy of {corpus.name!r} on Kaggle is known. See {corpus.url}")
    if source == "publisher" and not corpus.archive:
        copy = f", or fetch {corpus.kaggle} with --source kaggle" if corpus.kaggle else ""
        raise UserError(
            f"{corpus.title} cannot be fetched from here: its publisher hands it out on request, "
            f"or in no archive that could be checked (licence: {corpus.licence}). Ask at "
            f"{corpus.url}{copy}. It is expected in {root}, like this: {corpus.layout}"
        )
    try:
        importlib.import_module("kagglehub" if source == "kaggle" else "pooch")
    except ImportError as error:
        raise UserError(
            f"downloading needs a package that is not installed ({error}). It comes with the extra "
            "'download': pip install -e '.[download]' in the project folder"
        ) from error


def _fetch_from_kaggle(corpus: Corpus, force: bool) -> Path:
    import kagglehub

    _tell(f"{corpus.name}: fetching {corpus.kaggle} from Kaggle")
    try:
        copy = kagglehub.dataset_download(corpus.kaggle, force_download=force)
    except Exception as error:  # its errors, and those of what it uses, share no class
        raise UserError(
            f"{corpus.kaggle} cannot be fetched from Kaggle: {error}. Check the connection, and "
            "whether the dataset asks for an account: then put a token from kaggle.com/settings "
            f"into ~/.kaggle. Or get the recordings by hand: {corpus.url}"
        ) from error
    _tell(f"{corpus.name}: Kaggle's own copy stays in {copy}; it is not needed any more")
    return Path(copy).absolute()


def _fetch_from_publisher(corpus: Corpus, work: Path) -> Path:
    """Fetch the archive of a corpus, unpack it, and return the folder of its files."""
    import pooch
    from requests import RequestException

    pooch.get_logger().setLevel("WARNING")
    downloader = pooch.HTTPDownloader(progressbar=True, timeout=60, chunk_size=1 << 16)
    try:
        checksum = corpus.checksum or None
        fetched = pooch.retrieve(corpus.archive, checksum, "archive", work, downloader=downloader)
    except (RequestException, ValueError) as error:  # ValueError: a wrong checksum
        raise UserError(
            f"{corpus.archive} cannot be fetched: {error}. Check the connection and run the same "
            "again. If it stays so, a login page answers or the publisher replaced the file: get "
            f"it with a browser from {corpus.url}"
        ) from error
    _tell(f"{corpus.name}: unpacking {corpus.archive}")
    archive, files = Path(fetched), work / "files"
    with atomic_folder(files) as made:
        try:
            _unpack(archive, made)
        except UserError:
            if not corpus.checksum:  # nothing else would ever find it wrong
                archive.unlink()
            raise
    return files


def _unpack(archive: Path, folder: Path) -> None:
    """Write the files of a zip or tar archive below ``folder``; the standard library keeps to it.

    A checksum tells that the publisher's archive came, not that it is harmless.
    """
    try:
        if zipfile.is_zipfile(archive):
            with zipfile.ZipFile(archive) as opened:
                _check_size(archive, sum(info.file_size for info in opened.infolist()))
                opened.extractall(folder)
        else:
            with tarfile.open(archive) as opened:
                members = [info for info in opened if info.isreg()]
                _check_size(archive, sum(info.size for info in members))
                opened.extractall(folder, members, filter="data")
    except (UserError, OSError):
        raise
    except Exception as error:  # what a damaged archive raises shares no class
        raise UserError(
            f"{archive}: damaged, encrypted, unsafe, or no zip or tar archive ({error}): delete it"
        ) from error
    for path in find_audio(folder):
        with open(path, "rb") as file:
            if file.read(len(_GIT_LFS_POINTER)) == _GIT_LFS_POINTER:
                raise UserError(
                    f"{archive}: refused, its {path.name!a} is a git-lfs pointer, no recording. "
                    "Clone the repository with git-lfs installed, or fetch with --source kaggle"
                )


def _check_size(archive: Path, total: int) -> None:
    allowed = max(_ALWAYS_ALLOWED, _LARGEST_RATIO * archive.stat().st_size)
    if total > allowed:
        raise UserError(f"{archive}: refused, it unpacks to {total:,} bytes, more than {allowed:,}")


def _tell(text: str) -> None:
    print(text, file=sys.stderr)
