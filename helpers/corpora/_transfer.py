"""One file over HTTP: carried on after a break, and taken only with the publisher's checksum."""

from __future__ import annotations

import importlib
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event
from types import ModuleType
from urllib.parse import unquote, urlsplit

from helpers.corpora.corpus import Remote
from helpers.errors import UserError
from helpers.runs import atomic_write

#: WAV of quiet rooms packs to about a third.
UNPACKED_PER_PACKED = 3
_TRIES = 5  # in a row, without a single new byte
_WAIT_S = 1.0  # before the second try; twice as long before each further one
_LONGEST_WAIT_S = 60.0
_TIMEOUT_S = (10, 60)  # to connect, and between two pieces
_CHUNK = 1 << 16
# 404 as well: a mirror that is being filled says so for a moment.
_MAY_PASS = frozenset({404, 408, 425, 429, 500, 502, 503, 504})


class DownloadError(UserError):
    """A corpus cannot be fetched; the message says what was got, what was expected, what to do."""


class _BrokenError(Exception):
    """The transfer ended early; what came is kept."""


def import_extra(name: str) -> ModuleType:
    """Import ``pooch`` or ``kagglehub``.

    Raises
    ------
    DownloadError
        It is not installed; the message says how to.
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise DownloadError(
            f"downloading needs the package {name} ({error}), which comes with the extra "
            "'download': pip install -e '.[download]' in the project folder"
        ) from error


@contextmanager
def quiet_pooch() -> Iterator[ModuleType]:
    """``pooch``, kept from logging what the bar says already, and can be told not to."""
    pooch = import_extra("pooch")
    log = pooch.get_logger()
    level = log.level
    log.setLevel("WARNING")
    try:
        yield pooch
    finally:
        log.setLevel(level)


def file_name(url: str) -> str:
    """Name of the file at ``url``.

    Examples
    --------
    >>> file_name("https://example.org/files/a%20b.zip?download=1")
    'a b.zip'
    """
    return unquote(urlsplit(url).path).rstrip("/").rpartition("/")[2]


def check_free_disk(folder: Path, needed: int, *, what: str) -> None:
    """Compare the free disk below ``folder``, which need not exist, with ``needed`` bytes.

    Raises
    ------
    DownloadError
        There is less; the message names both.
    """
    folder = folder.absolute()
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise DownloadError(
            f"not enough disk for {what}: needed {_megabytes(needed)}, free {_megabytes(free)} in "
            f"{folder}. Make room, or set SER_DATA to a folder on another disk"
        )


def fetch_file(
    remote: Remote, path: Path, *, progress: bool = True, stop: Event | None = None
) -> None:
    """Fetch ``remote`` to ``path``, unless it is there already with the right checksum.

    What has come is kept in ``<path>.part`` when the connection, or this process, ends; the next
    call carries on from there. A file with a wrong checksum is deleted and fetched once more.

    Parameters
    ----------
    remote : Remote
    path : Path
        In a folder that exists and that only one process uses at a time.
    progress : bool
        Show a bar on standard error.
    stop : threading.Event, optional
        Once it is set, a transfer that breaks is not tried again.

    Raises
    ------
    DownloadError
        No connection after several tries, an answer that is no file, or a wrong checksum twice.
    OSError
        The disk is full, or ``path`` cannot be written.
    """
    downloader = _Continuing(path, size=remote.size, progress=progress, stop=stop or Event())
    with quiet_pooch() as pooch:
        for is_last in (False, True):
            try:
                pooch.retrieve(
                    remote.url,
                    known_hash=remote.checksum or None,
                    fname=path.name,
                    path=path.parent,
                    downloader=downloader,
                )
                return
            except DownloadError:
                raise
            except ValueError as error:  # what pooch raises for a wrong checksum
                if is_last:
                    raise _wrong_checksum(remote, error) from error


class _Continuing:
    """Downloader for :func:`pooch.retrieve` that carries on where an earlier one stopped.

    Beside ``.part``, a ``.part.json`` keeps what tells whether the file on the server is still the
    same one: its ETag or date, and its size.
    """

    def __init__(self, path: Path, *, size: int, progress: bool, stop: Event):
        self.part = path.with_name(f"{path.name}.part")
        self.notes = path.with_name(f"{path.name}.part.json")
        self.size = size
        self.progress = progress
        self.stop = stop

    def __call__(self, url: str, output_file: str, pooch: object) -> None:
        from requests import RequestException, Session
        from tqdm.auto import tqdm

        failures, best = 0, self._n_bytes()
        bar = tqdm(
            desc=file_name(url),
            unit="B",
            unit_scale=True,
            unit_divisor=1000,
            disable=not self.progress,
        )
        with bar, Session() as session:
            while True:
                try:
                    self._receive(session, url, bar)
                    break
                except (RequestException, _BrokenError) as error:
                    # A server that knows no ranges begins anew: only a new byte is progress.
                    failures = 0 if self._n_bytes() > best else failures + 1
                    best = max(best, self._n_bytes())
                    if failures == _TRIES or self.stop.is_set() or not _may_pass(error):
                        raise self._gave_up(url, error) from error
                    self.stop.wait(_wait_s(error, failures))
        os.replace(self.part, output_file)
        self.notes.unlink(missing_ok=True)

    def _receive(self, session, url: str, bar) -> None:
        """Ask for what is missing and append it; :class:`_BrokenError` when it is not all."""
        offset, notes = self._n_bytes(), self._read_notes()
        if offset and offset == notes.get("total"):  # only the renaming was left to do
            return
        with session.get(
            url, headers=_headers(offset, notes), stream=True, timeout=_TIMEOUT_S
        ) as response:
            if response.status_code == 416:
                self._start_over("has no such range")
            response.raise_for_status()
            total = self._total(response, url)
            if response.status_code != 206:
                offset = 0  # the whole file: ranges are ignored, or it is another one by now
            elif _range_start(response) != offset or notes.get("total", total) != total:
                self._start_over("answered with another range than asked for")
            if not self.size and total:
                needed = total - offset + UNPACKED_PER_PACKED * total
                check_free_disk(self.part.parent, needed, what=url)
            if not offset:
                self.part.unlink(missing_ok=True)  # before the notes say whose bytes these are
                self._write_notes(validator=_validator(response), total=total)
            self._append(response, total, bar)

    def _append(self, response, total: int, bar) -> None:
        with open(self.part, "ab") as file:
            bar.total = total or None
            bar.initial = bar.n = file.tell()
            bar.refresh()
            for chunk in response.iter_content(_CHUNK):
                if total and file.tell() + len(chunk) > total:
                    self._start_over(f"sent more than the {total} bytes it should have")
                file.write(chunk)
                bar.update(len(chunk))
        if self._n_bytes() < total:
            raise _BrokenError(f"got {self._n_bytes()} of {total} bytes")

    def _total(self, response, url: str) -> int:
        """Bytes of the whole file, 0 when nobody knows."""
        if response.status_code == 206:
            said = response.headers.get("Content-Range", "").rpartition("/")[2]
        elif response.headers.get("Content-Encoding", "identity") == "identity":
            said = response.headers.get("Content-Length", "")
        else:
            said = ""  # the length of something else
        total = int(said) if said.isdecimal() else self.size
        if self.size and total != self.size:
            raise DownloadError(
                f"{url}: the server offers {total} bytes, expected {self.size}. A proxy or login "
                "page may have answered in its place: open the address in a browser. If the "
                "publisher replaced the file, the entry in helpers/corpora is out of date"
            )
        return total

    def _start_over(self, why: str) -> None:
        self.part.unlink(missing_ok=True)
        self.notes.unlink(missing_ok=True)
        raise _BrokenError(f"the server {why}")

    def _n_bytes(self) -> int:
        return self.part.stat().st_size if self.part.exists() else 0

    def _read_notes(self) -> dict:
        try:
            notes = json.loads(self.notes.read_text(encoding="utf-8"))
            return {"validator": str(notes["validator"]), "total": int(notes["total"])}
        except (OSError, ValueError, LookupError, TypeError):  # the checksum will tell
            return {}

    def _write_notes(self, **notes: object) -> None:
        with atomic_write(self.notes) as temporary:
            temporary.write_text(json.dumps(notes), encoding="utf-8")

    def _gave_up(self, url: str, error: Exception) -> DownloadError:
        kept = f"; the {_megabytes(self._n_bytes())} so far are kept" if self._n_bytes() else ""
        return DownloadError(
            f"{url} cannot be fetched: {error}. Check the connection and run the same again{kept}. "
            "Or get the recordings with a browser and put them there yourself"
        )


def _headers(offset: int, notes: dict) -> dict[str, str]:
    # Packed on the way, ranges and lengths would be those of something else.
    headers = {"Accept-Encoding": "identity", "User-Agent": "ser-corpora"}
    if offset:
        headers["Range"] = f"bytes={offset}-"
        if notes.get("validator"):
            headers["If-Range"] = notes["validator"]
    return headers


def _validator(response) -> str:
    etag = response.headers.get("ETag", "")
    # A weak one promises the same meaning, not the same bytes.
    return etag if etag.startswith('"') else response.headers.get("Last-Modified", "")


def _range_start(response) -> int | None:
    start = response.headers.get("Content-Range", "").removeprefix("bytes ").partition("-")[0]
    return int(start) if start.isdecimal() else None


def _may_pass(error: Exception) -> bool:
    response = getattr(error, "response", None)
    if response is not None:
        return response.status_code in _MAY_PASS
    return not isinstance(error, ValueError)  # an address that is none stays so


def _wait_s(error: Exception, failures: int) -> float:
    response = getattr(error, "response", None)
    asked = response.headers.get("Retry-After", "") if response is not None else ""
    wait = float(asked) if asked.isdecimal() else _WAIT_S * 2 ** max(0, failures - 1)
    return min(wait, _LONGEST_WAIT_S)


def _wrong_checksum(remote: Remote, error: ValueError) -> DownloadError:
    return DownloadError(
        f"{remote.url}: fetched twice, wrong both times and deleted. {error} What to do: try again "
        "from another network; if it stays so, the publisher replaced the file, and the checksum "
        "in helpers/corpora, or in the publisher's list, should be compared with its page"
    )


def _megabytes(n_bytes: int) -> str:
    return f"{n_bytes / 1e6:,.1f} MB"
