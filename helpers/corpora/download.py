"""Fetch a corpus from its publisher, or a copy of it from Kaggle, and put it in its folder.

``download_corpus("ravdess")`` looks at the disk, fetches the archives, compares their checksums,
unpacks them aside and moves the recordings in place when all of them are there. Until then, all
lies in a hidden folder beside it, ``.ravdess-download``, from where the next call carries on. What
a publisher offers file by file is fetched, compared and moved in the same way.
"""

from __future__ import annotations

import logging
import os
import re
import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from helpers.corpora import CORPORA, locate
from helpers.corpora._archive import ArchiveError, move_into, unpack_archive
from helpers.corpora._dataverse import fetch_files, list_files
from helpers.corpora._transfer import (
    UNPACKED_PER_PACKED,
    DownloadError,
    check_free_disk,
    fetch_file,
    file_name,
    import_extra,
)
from helpers.corpora.corpus import Corpus, Remote, not_found
from helpers.corpora.table import Listing
from helpers.errors import UserError
from helpers.runs import data_home

__all__ = ["SOURCES", "DownloadError", "download_corpus"]

SOURCES = ("publisher", "kaggle")
_POLL_S = 0.5
_LOG = logging.getLogger(__name__)


def download_corpus(
    name: str, *, source: str = "publisher", force: bool = False, progress: bool = True
) -> Path:
    """Fetch a corpus into its folder in :func:`helpers.runs.data_home`.

    A complete corpus is left as it is, without asking the network. An interrupted download is
    carried on. What lies in the folder stays; only files that the archive has under the same name
    are replaced. Of two calls at a time, the second waits for the first.

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
    progress : bool
        Say on standard error what happens, with a bar for each archive, or one for all files.

    Returns
    -------
    Path
        The folder of the corpus. When clips are missing after all, a warning is logged.

    Raises
    ------
    DownloadError
        The only error: an unknown name, nothing to fetch it from, a package that is not
        installed, no connection, a wrong checksum, a full disk, an archive that is not safe, or
        no clip in it. The message says what to do.

    Examples
    --------
    >>> download_corpus("ravdes")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    ...
    helpers.corpora._transfer.DownloadError: unknown corpus 'ravdes': known are demo, ...
    """
    if name not in CORPORA:
        raise DownloadError(
            f"unknown corpus {name!r}: known are {', '.join(CORPORA)}. Your own recordings need no "
            "download: name their folder or manifest instead"
        )
    corpus = CORPORA[name]
    try:
        _fetch(corpus, locate(corpus), source, force, progress)
        root = locate(corpus)
        _compare(corpus, root)
    except DownloadError:
        raise
    except UserError as error:  # from making a generated one
        raise DownloadError(str(error)) from error
    except OSError as error:
        raise DownloadError(
            f"corpus {name!r} cannot be put into {data_home()}: {error}. Is the disk full, or the "
            "folder read-only? SER_DATA may name another one"
        ) from error
    return root


def _fetch(corpus: Corpus, root: Path, source: str, force: bool, progress: bool) -> None:
    if corpus.generated:  # it makes itself when it is loaded
        return
    if not force and _is_complete(corpus, root):
        _tell(progress, f"{corpus.name}: already complete, nothing to fetch")
        return
    _check_source(corpus, root, source)
    if corpus.parts and root == data_home():  # gathered from its parts' own folders, which stay so
        root = root / corpus.folder
    with _work_folder(root, progress) as (work, waited):
        if waited and _is_complete(corpus, root):
            _tell(progress, f"{corpus.name}: the other process has fetched it")
            return
        _tell(progress, f"{corpus.name}: {corpus.title}, licence {corpus.licence}")
        made = work / "unpacked"
        files = work / f"{corpus.name}-files"  # single ones; they outlive an interrupted call
        if source == "kaggle":
            _copy_from_kaggle(corpus, made, force, progress)
        elif corpus.dataverse:
            made = files
            fetch_files(
                list_files(corpus.dataverse, work), made, name=corpus.name, progress=progress
            )
        else:
            _fetch_remotes(corpus, work, made, progress)
        move_into(made, root)
        # Only now: until all is in place, another try needs no network.
        shutil.rmtree(files, ignore_errors=True)
        for remote in corpus.remotes:
            for path in work.glob(f"{_archive_name(remote)}*"):
                path.unlink()


def _fetch_remotes(corpus: Corpus, work: Path, made: Path, progress: bool) -> None:
    paths = {remote: work / _archive_name(remote) for remote in corpus.remotes}
    needed = 0
    for remote, path in paths.items():
        part = path.with_name(f"{path.name}.part")
        there = sum(p.stat().st_size for p in (path, part) if p.exists())
        needed += max(0, remote.size - there) + UNPACKED_PER_PACKED * remote.size
    check_free_disk(work, needed, what=f"corpus {corpus.name!r}")
    for remote, path in paths.items():
        fetch_file(remote, path, progress=progress)
    for remote, path in paths.items():
        _tell(progress, f"{corpus.name}: unpacking {path.name}")
        try:
            unpack_archive(path, made / remote.folder)
        except ArchiveError:
            if not remote.checksum:  # nothing else would ever find it wrong
                path.unlink()
            raise


def _copy_from_kaggle(corpus: Corpus, made: Path, force: bool, progress: bool) -> None:
    kagglehub = import_extra("kagglehub")
    _tell(progress, f"{corpus.name}: fetching {corpus.kaggle} from Kaggle")
    try:
        # Into Kaggle's own cache: it carries on there after a break.
        copy = Path(kagglehub.dataset_download(corpus.kaggle, force_download=force))
    except Exception as error:  # its errors, and those of what it uses, share no class
        raise DownloadError(
            f"{corpus.kaggle} cannot be fetched from Kaggle: {error}. Check the connection, and "
            "whether the dataset asks for an account: then put a token from kaggle.com/settings "
            f"into ~/.kaggle. Or get the recordings by hand: {corpus.url}"
        ) from error
    # Copies hold other corpora too, or the same clip twice: take what the loader would.
    clips = [Path(path) for path in corpus.load(copy).clips["path"]]
    if not clips:
        raise not_found(corpus, copy)
    size = sum(clip.stat().st_size for clip in clips)
    check_free_disk(made, size, what=f"corpus {corpus.name!r}")
    for clip in clips:
        target = made / clip.relative_to(os.path.abspath(copy))
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(clip, target)
    _tell(progress, f"{corpus.name}: Kaggle's own copy stays in {copy}, and is not needed any more")


def _check_source(corpus: Corpus, root: Path, source: str) -> None:
    """Say before anything is fetched that there is nothing to fetch, and what to do instead."""
    if source not in SOURCES:
        raise DownloadError(f"source {source!r}: expected one of {', '.join(SOURCES)}")
    if source == "kaggle" and not corpus.kaggle:
        raise DownloadError(f"no copy of {corpus.name!r} on Kaggle is known. See {corpus.url}")
    if source == "publisher" and not corpus.is_offered:
        kaggle = (
            f'\n  Or fetch the copy {corpus.kaggle} with source "kaggle".' if corpus.kaggle else ""
        )
        listing = corpus.load(root)
        here = (
            str(not_found(corpus, root, unparsed=listing.paths("unparsed")))
            if listing.clips.empty
            else f"{_count(corpus, listing)} in {root}; the others: {corpus.url}"
        )
        raise DownloadError(
            f"{corpus.title} cannot be fetched from here: its publisher hands it out on request, "
            f"or in no archive that could be checked. Ask there, and unpack it by hand.\n{here}"
            f"{kaggle}"
        )


def _compare(corpus: Corpus, root: Path) -> None:
    listing = corpus.load(root)
    if listing.clips.empty:
        said = not_found(corpus, root, unparsed=listing.paths("unparsed"))
        raise DownloadError(f"fetched, but {said}")
    found = listing.clips["emotion"].value_counts()
    wrong = {
        emotion: f"{found.get(emotion, 0)} of {expected} {emotion}"
        for emotion, expected in corpus.counts.items()
        if found.get(emotion, 0) != expected
    }
    if wrong:
        _LOG.warning("%s: %s in %s", corpus.name, ", ".join(wrong.values()), root)


def _is_complete(corpus: Corpus, root: Path) -> bool:
    n_found = len(corpus.load(root).clips) if root.is_dir() else 0
    return n_found > 0 and n_found >= corpus.n_clips


def _count(corpus: Corpus, listing: Listing) -> str:
    return f"{len(listing.clips)}{f' of {corpus.n_clips}' if corpus.n_clips else ''} clips"


def _archive_name(remote: Remote) -> str:
    """Begins with the checksum: a file that the publisher replaces gets another name."""
    digest = remote.checksum.rpartition(":")[2]
    return (
        f"{digest[:8] or 'unchecked'}-{re.sub('[^A-Za-z0-9._-]', '_', file_name(remote.url))[-80:]}"
    )


@contextmanager
def _work_folder(root: Path, progress: bool) -> Iterator[tuple[Path, bool]]:
    """A folder beside ``root`` for one process at a time, and whether another one had it before.

    The system lets go of the lock when a process ends, however it ends: none is ever stale.
    """
    work = root.parent / f".{root.name}-download"
    waited = False
    while (handle := _try_lock(work)) is None:
        if not waited:
            _tell(progress, f"another process is fetching into {root}: waiting for it")
        waited = True
        time.sleep(_POLL_S)
    try:
        _remove_leftovers(work)
        try:
            yield work, waited
        finally:
            _remove_leftovers(work)
    finally:
        # While it is held: whoever waits sees that it is gone, and makes a new one.
        with suppress(OSError):  # Windows keeps an open file; an empty one does no harm
            (work / "lock").unlink()
        os.close(handle)
        with suppress(OSError):  # not empty: there is something to carry on with
            work.rmdir()


def _try_lock(work: Path) -> int | None:
    work.parent.mkdir(parents=True, exist_ok=True)
    try:
        work.mkdir(exist_ok=True)
        handle = os.open(work / "lock", os.O_RDWR | os.O_CREAT)
    except (FileExistsError, FileNotFoundError):
        if work.is_symlink() or work.is_file():
            raise
        return None  # another process has finished just now and tidied up
    if _claim(handle):
        with suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(handle), os.stat(work / "lock")):
                return handle
    os.close(handle)
    return None


def _claim(handle: int) -> bool:
    try:
        import fcntl
    except ImportError:  # Windows
        import msvcrt

        try:
            msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _remove_leftovers(work: Path) -> None:
    # What a killed call left half done; pooch's own temporary files begin with "tmp".
    for path in [work / "unpacked", *work.glob("tmp*")]:
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


def _tell(progress: bool, text: str) -> None:
    if progress:
        print(text, file=sys.stderr)
