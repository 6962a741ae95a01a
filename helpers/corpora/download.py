"""Fetch a corpus from its publisher, or a copy of it from Kaggle, and put it in its folder.

All is fetched, checked and unpacked in a hidden folder beside it, ``.ravdess-download``, and moved
in place at the end. After a break, the next call fetches only what is missing.
"""

from __future__ import annotations

import errno
import importlib
import json
import re
import shutil
import sys
import tarfile
import zipfile
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from helpers.corpora import CORPORA
from helpers.corpora.corpus import Corpus, Remote, locate, not_found
from helpers.corpora.table import AUDIO_SUFFIXES
from helpers.errors import UserError
from helpers.runs import atomic_folder, atomic_write, data_home, one_at_a_time

_HTTP = {"timeout": (10, 60), "headers": {"User-Agent": "ser-corpora"}, "chunk_size": 1 << 16}
_RETRIES = 3
_AT_A_TIME = 4  # with small files the time goes into asking; more would be impolite
_UNPACKED_PER_PACKED = 3  # WAV of quiet rooms
# More than recordings unpack to; silence may, if it is short.
_LARGEST_RATIO = 20
_ALWAYS_ALLOWED = 64_000_000
_LARGEST_TEXT = 4_000_000
# A licence has to stay with what it covers, and some publishers put labels into tables.
_TEXT = re.compile(r".*\.(txt|md|csv|tsv)|readme|licen[cs]e|copying", re.IGNORECASE)
# Absolute, out of the folder, a path of another system, or with letters that hide what it is.
_UNSAFE = re.compile(r"^/|(^|/)\.\.(/|$)|[\\:]|[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
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
        clips, unparsed = _load(corpus, root)
    except OSError as error:
        raise UserError(
            f"corpus {name!r} cannot be put into {data_home()}: {error}. Is the disk full, or the "
            "folder read-only? SER_DATA may name another one"
        ) from error
    if not clips:
        raise UserError(f"fetched, but {not_found(corpus, root, unparsed=unparsed)}")
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
            wanted, _ = _load(corpus, files)
            put = shutil.copyfile
        else:
            files = _fetch_from_publisher(corpus, work)
            wanted = _find_wanted(files)
            put = shutil.move
        for path in wanted:
            with atomic_write(root / path.relative_to(files)) as temporary:
                put(path, temporary)
        shutil.rmtree(work, ignore_errors=True)  # none, if it came from Kaggle
    return root


def _load(corpus: Corpus, root: Path) -> tuple[list[Path], list[str]]:
    """The clips in ``root``, and the files there that the corpus' rule does not name."""
    listing = corpus.load(root)
    return [Path(path) for path in listing.clips["path"]], listing.paths("unparsed")


def _is_complete(corpus: Corpus, root: Path) -> bool:
    clips, _ = _load(corpus, root)
    return len(clips) >= max(1, corpus.n_clips)


def _check_offer(corpus: Corpus, root: Path, source: str) -> None:
    """Refuse what cannot be fetched, before anything is."""
    if source == "kaggle" and not corpus.kaggle:
        raise UserError(f"no copy of {corpus.name!r} on Kaggle is known. See {corpus.url}")
    if source == "publisher" and not corpus.is_offered:
        copy = f", or fetch {corpus.kaggle} with --source kaggle" if corpus.kaggle else ""
        raise UserError(
            f"{corpus.title} cannot be fetched from here: its publisher hands it out on request, "
            f"or in no archive that could be checked (licence: {corpus.licence}). Ask at "
            f"{corpus.url}{copy}. It is expected in {root}, like this:{corpus.layout}"
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
    """Fetch all files of the corpus, archives unpacked, and return their folder."""
    from pooch.utils import unique_file_name

    files = work / "files"
    if corpus.dataverse:
        _fetch_files(corpus, _list_files(corpus, work), files)
        return files
    archives = {unique_file_name(remote.url): remote for remote in corpus.remotes}
    _fetch_files(corpus, archives, work, room=1 + _UNPACKED_PER_PACKED)
    with atomic_folder(files) as made:
        for name, remote in archives.items():
            _tell(f"{corpus.name}: unpacking {remote.url}")
            try:
                _unpack(work / name, made / remote.folder)
            except UserError:
                if not remote.checksum:  # nothing else would ever find it wrong
                    (work / name).unlink()
                raise
    return files


def _list_files(corpus: Corpus, work: Path) -> dict[str, Remote]:
    """What a Dataverse server offers of the corpus, by path below the folder of the corpus."""
    dataset = corpus.dataverse
    path = work / "listing.json"
    path.unlink(missing_ok=True)  # the publisher may have changed it since
    _fetch_files(corpus, {path.name: Remote(dataset.listing, "", 0)}, work)
    remotes = {}
    try:
        for entry in json.loads(path.read_bytes())["data"]["latestVersion"]["files"]:
            file = entry["dataFile"]
            name = "/".join(filter(None, [entry.get("directoryLabel"), entry["label"]]))
            url = f"{dataset.site}/api/access/datafile/{file['id']:d}"
            remotes[name] = Remote(url, checksum=f"md5:{file['md5']}", size=int(file["filesize"]))
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise UserError(
            f"{dataset.listing}: found an answer that begins with {path.read_bytes()[:60]!r} "
            f"({error!r}), expected Dataverse's list of files as JSON, with MD5 and size of each. "
            "A login page may have answered in its place: try again later. Or get the recordings "
            f"with a browser from {dataset.page}, or a copy with --source kaggle"
        ) from error
    _refuse_unsafe(remotes, dataset.listing)
    return {name: remote for name, remote in remotes.items() if _is_wanted(Path(name), remote.size)}


def _fetch_files(
    corpus: Corpus, remotes: dict[str, Remote], folder: Path, *, room: int = 1
) -> None:
    """Fetch those of ``remotes``, given by path below ``folder``, that are not there already.

    ``room`` is how many bytes of the disk each byte that is fetched will need.
    """
    import pooch
    from requests import RequestException
    from tqdm.auto import tqdm

    missing = sum(r.size for name, r in remotes.items() if not (folder / name).exists())
    folder.mkdir(parents=True, exist_ok=True)
    needed, free = room * missing, shutil.disk_usage(folder).free
    if needed > free:  # before hours of fetching
        why = f"needed {needed / 1e6:,.1f} MB, free {free / 1e6:,.1f} MB"
        raise OSError(errno.ENOSPC, why, str(folder))
    for parent in {(folder / name).parent for name in remotes}:  # threads would race for it
        parent.mkdir(parents=True, exist_ok=True)
    pooch.get_logger().setLevel("WARNING")  # it would log each file
    store = pooch.create(
        path=folder,
        base_url="",
        urls={name: remote.url for name, remote in remotes.items()},
        registry={name: remote.checksum or None for name, remote in remotes.items()},
        retry_if_failed=_RETRIES,
    )
    is_one = len(remotes) == 1  # its bar counts bytes; that of many counts files
    has_bar = is_one and bool(corpus.remotes)  # not that of a list of files

    def fetch(name: str) -> None:
        downloader = pooch.HTTPDownloader(progressbar=has_bar, **_HTTP)
        try:
            store.fetch(name, downloader=downloader)
        except (RequestException, ValueError) as error:  # ValueError: a wrong checksum
            raise UserError(
                f"{store.get_url(name)} cannot be fetched: {error}. Check the connection and run "
                "the same again: files that came are kept. If it stays so, a login page answers or "
                f"the publisher replaced the file: get it with a browser from {corpus.url}"
            ) from error

    with ThreadPoolExecutor(_AT_A_TIME) as pool:
        done = pool.map(fetch, remotes)  # begins no more of them after an error
        list(tqdm(done, desc=corpus.name, total=len(remotes), unit=" files", disable=is_one))


def _unpack(archive: Path, folder: Path) -> None:
    """Write the files of a zip or tar archive below ``folder``; a tar's links are left out.

    A checksum tells that the publisher's archive came, not that it is harmless: one bad member,
    and all of it is refused.
    """
    try:
        if zipfile.is_zipfile(archive):
            with zipfile.ZipFile(archive) as opened:
                # Not `filename`: on Windows it has slashes where the archive has backslashes.
                sizes = {info.orig_filename: info.file_size for info in opened.infolist()}
                _check_members(archive, sizes)
                opened.extractall(folder)
        else:
            with tarfile.open(archive) as opened:
                members = [info for info in opened if info.isreg()]
                _check_members(archive, {info.name: info.size for info in members})
                opened.extractall(folder, members, filter="data")
    except (UserError, OSError):
        raise
    except Exception as error:  # what a damaged archive raises shares no class
        raise UserError(
            f"{archive}: damaged, encrypted, or no zip or tar archive ({error}): delete it"
        ) from error
    for path in _find_wanted(folder):
        with open(path, "rb") as file:
            if file.read(len(_GIT_LFS_POINTER)) == _GIT_LFS_POINTER:
                raise UserError(
                    f"{archive}: refused, its {path.name!a} is a git-lfs pointer, no recording. "
                    "Clone the repository with git-lfs installed, or fetch with --source kaggle"
                )


def _check_members(archive: Path, sizes: dict[str, int]) -> None:
    _refuse_unsafe(sizes, archive)
    total = sum(sizes.values())
    allowed = max(_ALWAYS_ALLOWED, _LARGEST_RATIO * archive.stat().st_size)
    if total > allowed:
        raise UserError(f"{archive}: refused, it unpacks to {total:,} bytes, more than {allowed:,}")


def _refuse_unsafe(names: Iterable[str], source: Path | str) -> None:
    for name in names:
        if _UNSAFE.search(name):
            raise UserError(f"{source}: refused, {name!a} could lead out of the folder")


def _find_wanted(folder: Path) -> list[Path]:
    """Recordings and small texts below ``folder``."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    return [path for path in files if _is_wanted(path.relative_to(folder), path.stat().st_size)]


def _is_wanted(path: Path, size: int) -> bool:
    # A Mac's archive has "._x.wav" files and __MACOSX folders that hold no sound.
    if any(part.startswith((".", "__MACOSX")) for part in path.parts):
        return False
    if path.suffix.lower() in AUDIO_SUFFIXES:
        return True
    return size <= _LARGEST_TEXT and _TEXT.fullmatch(path.name) is not None


def _tell(text: str) -> None:
    print(text, file=sys.stderr)
