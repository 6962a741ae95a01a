"""Corpora whose publisher offers single files: what the server lists, and fetching all of it.

The list is trusted no more than an archive's: names that would land elsewhere are refused, and a
file is taken only with the checksum that the list states for it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from threading import Event

from helpers.corpora._archive import ArchiveError, Member, choose_members
from helpers.corpora._transfer import DownloadError, check_free_disk, fetch_file, quiet_pooch
from helpers.corpora.corpus import Dataverse, Remote

_AT_A_TIME = 4  # the time goes into asking, not into the bytes; more would be impolite
_LARGEST_LIST = 50_000_000  # a file takes about a kilobyte of it
_LARGEST_DATASET = 20_000_000_000  # no corpus of short clips comes near it
_HEX_DIGITS = {"md5": 32, "sha1": 40, "sha256": 64, "sha512": 128}
_UNEXPECTED = (ValueError, LookupError, TypeError, AttributeError, RecursionError)


def list_files(dataset: Dataverse, work: Path) -> dict[str, Remote]:
    """Ask the server for the recordings and small texts of ``dataset``.

    Parameters
    ----------
    dataset : Dataverse
    work : Path
        A folder for temporary files that only one process uses at a time.

    Returns
    -------
    dict of str to Remote
        By path below the folder of the corpus, with slashes.

    Raises
    ------
    DownloadError
        No connection, an answer that is not such a list, an entry without checksum or size.
    ArchiveError
        A name that would land elsewhere or occurs twice, too much, or no recordings.
    """
    path = work / "listing.json"
    _remove(path)  # a part of an earlier answer is of no use
    try:
        fetch_file(Remote(dataset.listing, checksum="", size=0), path, progress=False)
        entries = _read_entries(path, dataset)
    finally:
        _remove(path)
    try:
        files = [_read_entry(entry, dataset.site) for entry in entries]
    except _UNEXPECTED as error:
        raise _not_a_list(dataset, f"an entry without what is needed ({error!r})") from error
    _refuse_twice([name for name, _ in files], dataset)
    remotes = dict(files)
    members = [Member(name, remote.size) for name, remote in files]
    chosen = choose_members(members, dataset.listing, allowed=_LARGEST_DATASET)
    return {member.name: remotes[member.name] for member in chosen}


def fetch_files(
    remotes: Mapping[str, Remote], folder: Path, *, name: str, progress: bool = True
) -> None:
    """Fetch ``remotes`` into ``folder``, some at a time, with one bar on standard error for all.

    Files that are there with the right checksum are not asked for again; whatever else lies in
    ``folder`` is removed when all are there.

    Parameters
    ----------
    remotes : mapping of str to Remote
        By path below ``folder``, which need not exist.
    folder : Path
        Only one process may use it at a time.
    name : str
        Of the corpus, for the bar and the messages.
    progress : bool
        Show the bar.

    Raises
    ------
    DownloadError
        Not enough disk, or one of the files cannot be fetched; those that came are kept.
    OSError
        ``folder`` cannot be written.
    """
    paths = {folder.joinpath(*place.split("/")): remote for place, remote in remotes.items()}
    missing = sum(remote.size for path, remote in paths.items() if not path.exists())
    check_free_disk(folder, missing, what=f"corpus {name!r}")
    for parent in {path.parent for path in paths}:
        parent.mkdir(parents=True, exist_ok=True)
    try:
        _fetch_some_at_a_time(paths, name, progress)
    except DownloadError as error:
        kept = sum(path.exists() for path in paths)
        raise DownloadError(
            f"{error}\n  {kept} of {len(paths)} files of {name} are there and kept"
        ) from error
    for path in folder.rglob("*"):
        if path.is_file() and path not in paths:
            path.unlink()


def _fetch_some_at_a_time(paths: Mapping[Path, Remote], name: str, progress: bool) -> None:
    from tqdm.auto import tqdm

    bar = tqdm(
        desc=name,
        total=sum(remote.size for remote in paths.values()),
        unit="B",
        unit_scale=True,
        unit_divisor=1000,
        disable=not progress,
    )
    stop = Event()
    # Quiet from here on: of several at a time, one would undo the other's silence.
    with quiet_pooch(), ThreadPoolExecutor(_AT_A_TIME) as pool, bar:
        jobs = {
            pool.submit(fetch_file, remote, path, progress=False, stop=stop): remote.size
            for path, remote in paths.items()
        }
        try:
            for job in as_completed(jobs):
                job.result()
                bar.update(jobs[job])
        finally:  # after an error, no more is begun, and what has begun is not tried again
            stop.set()
            pool.shutdown(cancel_futures=True)


def _read_entries(path: Path, dataset: Dataverse) -> list:
    if path.stat().st_size > _LARGEST_LIST:
        raise _not_a_list(dataset, f"{path.stat().st_size:,} bytes")
    content = path.read_bytes()
    try:
        return list(json.loads(content)["data"]["latestVersion"]["files"])
    except _UNEXPECTED as error:
        raise _not_a_list(dataset, f"an answer that begins with {content[:60]!r}") from error


def _read_entry(entry: dict, site: str) -> tuple[str, Remote]:
    """Path and file; what is missing or of another kind raises one of ``_UNEXPECTED``."""
    file = entry["dataFile"]
    name = "/".join(filter(None, (entry.get("directoryLabel"), entry["label"])))
    # Old versions of Dataverse knew no other kind than MD5.
    stated = file.get("checksum") or {"type": "MD5", "value": file["md5"]}
    kind, digest = stated["type"].lower().replace("-", ""), stated["value"].lower()
    if not re.fullmatch(f"[0-9a-f]{{{_HEX_DIGITS[kind]}}}", digest):
        raise ValueError(f"{digest!a} as {kind} of {name!a}")
    size = file["filesize"]
    if type(size) is not int or size < 1:
        raise ValueError(f"{size!a} as size of {name!a}")
    url = f"{site}/api/access/datafile/{file['id']:d}"
    return name, Remote(url, checksum=f"{kind}:{digest}", size=size)


def _refuse_twice(names: list[str], dataset: Dataverse) -> None:
    seen = set()
    for name in names:
        if name.casefold() in seen:  # some systems take upper and lower case for the same
            raise ArchiveError(f"{dataset.listing}: refused, it has {name!a} twice")
        seen.add(name.casefold())


def _not_a_list(dataset: Dataverse, found: str) -> DownloadError:
    return DownloadError(
        f"{dataset.listing}: found {found}, expected Dataverse's list of files as JSON, with the "
        "checksum and size of each. A proxy or login page may have answered in its place: try "
        f"again later. Or get the recordings with a browser from {dataset.page}, or a copy with "
        "--source kaggle"
    )


def _remove(path: Path) -> None:
    for found in path.parent.glob(f"{path.name}*"):  # also what is left of an unfinished one
        found.unlink()
