"""Fetch a corpus from its publisher and put it in its folder.

All is fetched, checked and unpacked in a hidden folder beside it, ``.ravdess-download``, and put in
place at the end.
"""

from __future__ import annotations

import shutil
import sys
import zipfile
from pathlib import Path

from helpers.corpora import CORPORA
from helpers.corpora.corpus import Corpus, locate, not_found
from helpers.corpora.table import find_files
from helpers.errors import UserError
from helpers.runs import atomic_folder, atomic_write, data_home, one_at_a_time

# More than recordings unpack to; silence may, if it is short.
_LARGEST_RATIO = 20
_ALWAYS_ALLOWED = 64_000_000


def download_corpus(name: str) -> Path:
    """Fetch a corpus into its folder in :func:`helpers.runs.data_home`.

    A complete corpus is left as it is, without asking the network. What lies in the folder stays;
    only files that come under the same name are replaced. What happens is said on standard error.

    Parameters
    ----------
    name : str
        One of :data:`helpers.corpora.CORPORA`. A generated one is made.

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
    root = locate(corpus)
    try:
        if len(corpus.load(root).clips) >= max(1, corpus.n_clips):  # a generated one makes itself
            _tell(f"{name}: already complete, nothing to fetch")
            return root
        if not corpus.archive:
            raise UserError(
                f"{corpus.title} cannot be fetched from here: its publisher gives it on request "
                f"(licence: {corpus.licence}). Ask at {corpus.url}. It is expected in {root}, like "
                f"this: {corpus.layout}"
            )
        with one_at_a_time(root):
            if len(corpus.load(root).clips) < max(1, corpus.n_clips):  # else another call did it
                _fetch(corpus, root)
        listing = corpus.load(root)
    except OSError as error:
        raise UserError(
            f"corpus {name!r} cannot be put into {data_home()}: {error}. Is the disk full, or the "
            "folder read-only? SER_DATA may name another one"
        ) from error
    if listing.clips.empty:
        raise UserError(f"fetched, but {not_found(corpus, root, listing.paths('unparsed'))}")
    return root


def _fetch(corpus: Corpus, root: Path) -> None:
    """Fetch the archive of a corpus, unpack it, and put its files in the folder ``root``."""
    import pooch
    from requests import RequestException

    _tell(f"{corpus.name}: {corpus.title}, licence {corpus.licence}")
    work = root.parent / f".{corpus.name}-download"
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
    recordings, others = find_files(files)
    for path in [*recordings, *others]:
        with atomic_write(root / path.relative_to(files)) as temporary:
            shutil.copyfile(path, temporary)
    shutil.rmtree(work)


def _unpack(archive: Path, folder: Path) -> None:
    """Write the files of a zip archive below ``folder``; the standard library keeps to it.

    A checksum tells that the publisher's archive came, not that it is harmless.
    """
    try:
        with zipfile.ZipFile(archive) as opened:
            total = sum(info.file_size for info in opened.infolist())
            allowed = max(_ALWAYS_ALLOWED, _LARGEST_RATIO * archive.stat().st_size)
            if total > allowed:
                raise UserError(f"{archive}: refused, it unpacks to {total:,} bytes")
            opened.extractall(folder)
    except (UserError, OSError):
        raise
    except Exception as error:  # what a damaged archive raises shares no class
        raise UserError(
            f"{archive}: damaged, encrypted, or no zip archive ({error}): delete it"
        ) from error


def _tell(text: str) -> None:
    print(text, file=sys.stderr)
