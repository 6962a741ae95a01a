"""A corpus arrives whole or not at all, whatever the network, the archive and the disk do.

A real server on this machine plays the publisher; nothing here asks the internet.
"""

from __future__ import annotations

import hashlib
import importlib
import inspect
import io
import itertools
import json
import os
import re
import signal
import socket
import struct
import subprocess
import sys
import tarfile
import threading
import time
import zipfile
from collections import namedtuple
from contextlib import suppress
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace

import pytest
from conftest import ROOT, skip_or_fail

from helpers.corpora import CORPORA, Remote, _archive, _dataverse, _transfer, download
from helpers.corpora.corpus import Corpus, Dataverse, not_found
from helpers.corpora.download import DownloadError, download_corpus
from helpers.errors import UserError

EMOTIONS = ("angry", "happy", "sad")
CLIPS = [f"{emotion}_{number}" for emotion in EMOTIONS for number in range(4)]


def parse_name(stem: str) -> tuple[str, dict] | None:
    """The rule of the corpus here: ``angry_3``."""
    match = re.fullmatch(f"({'|'.join(EMOTIONS)})_([0-9])", stem)
    return (stem, {"corpus": "tiny", "emotion": match[1]}) if match else None


def sound(stem: str) -> bytes:
    """Bytes that do not pack, the same ones each time; the loader reads names only."""
    return b"".join(hashlib.sha512(f"{stem}{i}".encode()).digest() for i in range(500))


def zipped(members: dict[str, bytes]) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return file.getvalue()


GOOD = zipped({f"Actor_01/{stem}.wav": sound(stem) for stem in CLIPS})
OTHER = zipped({f"Actor_02/{stem}.wav": sound(stem[::-1]) for stem in CLIPS})


class Publisher(ThreadingHTTPServer):
    """Serves one file at any address; ``script`` says how, request by request, then ``usual``.

    For some addresses, ``files`` has other contents and ``acts`` a script of their own. An entry
    is a status, a function that is called before a good answer, or words: ``truncate``, ``reset``
    or ``stall`` (half of what is asked for), ``corrupt``, ``plain`` (knows no ranges).
    """

    daemon_threads = True

    def __init__(self, body: bytes):
        super().__init__(("127.0.0.1", 0), Reply)
        self.body, self.etag, self.usual = body, '"one"', "well"
        self.says_length, self.is_chunked, self.headers = True, False, {}
        self.files, self.acts = {}, {}
        self.script, self.requests, self.paths = [], [], []
        self.go_on = threading.Event()

    def handle_error(self, *_):
        """A client that hangs up is part of the play."""

    def next_act(self, path: str):
        for acts in (self.acts.get(path, []), self.script):
            with suppress(IndexError):
                return acts.pop(0)
        return self.usual

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/files/tiny%20audio.zip?download=1"

    def remote(self, **changes) -> Remote:
        checksum = f"md5:{hashlib.md5(self.body).hexdigest()}"
        return replace(Remote(self.url, checksum, len(self.body)), **changes)


class Reply(BaseHTTPRequestHandler):
    server: Publisher

    def log_message(self, *_):
        """Not into the tests' output."""

    def do_GET(self):  # noqa: N802, the server's name for it
        site = self.server
        site.requests.append(dict(self.headers))
        site.paths.append(self.path)
        act = site.next_act(self.path)
        if callable(act):
            act()
            act = "well"
        self.body = site.files.get(self.path, site.body)
        if isinstance(act, int):
            self._refuse(act)
            return
        start = 0 if "plain" in act else self._start()
        self._send_head(start)
        rest = self.body[start:]
        if "corrupt" in act:
            rest = rest[:100] + bytes(255 - byte for byte in rest[100:200]) + rest[200:]
        if any(word in act for word in ("truncate", "reset", "stall")):
            rest = rest[: len(rest) // 2]
        self._send(rest, ends=act in ("well", "plain"))
        if "reset" in act:  # no goodbye: the other end sees a reset connection
            linger = struct.pack("ii", 1, 0)
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        if "stall" in act:
            site.go_on.wait(20)
        self.close_connection = True

    def _send(self, content: bytes, *, ends: bool):
        if not self.server.is_chunked:
            self.wfile.write(content)
            return
        for place in range(0, len(content), 5000):
            piece = content[place : place + 5000]
            self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
        if ends:
            self.wfile.write(b"0\r\n\r\n")

    def _refuse(self, status: int):
        self.send_response(status)
        for item in self.server.headers.items():
            self.send_header(*item)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def _start(self) -> int:
        asked = re.fullmatch("bytes=([0-9]+)-", self.headers.get("Range", ""))
        same = self.headers.get("If-Range", self.server.etag) == self.server.etag
        return int(asked[1]) if asked and same else 0

    def _send_head(self, start: int):
        total = len(self.body)
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{total - 1}/{total}")
        if self.server.etag:
            self.send_header("ETag", self.server.etag)
        if self.server.is_chunked:
            self.send_header("Transfer-Encoding", "chunked")
        elif self.server.says_length:
            self.send_header("Content-Length", str(total - start))
        self.end_headers()


@pytest.fixture
def site():
    if find_spec("pooch") is None:
        skip_or_fail("no pooch: pip install -e '.[download]'")
    with Publisher(GOOD) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.go_on.set()
        server.shutdown()
        thread.join()


@pytest.fixture
def home(tmp_path, monkeypatch):
    """An empty data folder, one level down so that an escape would be seen; no long waits."""
    home = tmp_path / "data"
    monkeypatch.setenv("SER_DATA", str(home))
    monkeypatch.setattr(_transfer, "_WAIT_S", 0.01)
    monkeypatch.setattr(_transfer, "_LONGEST_WAIT_S", 0.05)
    monkeypatch.setattr(_transfer, "_TIMEOUT_S", (5, 5))
    monkeypatch.setattr(_transfer, "_CHUNK", 1 << 12)
    monkeypatch.setattr(download, "_POLL_S", 0.02)
    return home


@pytest.fixture
def offer(monkeypatch):
    """``offer(remote, …)`` makes a corpus called tiny of these remotes known."""

    def add(*remotes: Remote, **changes) -> Corpus:
        corpus = replace(tiny(), remotes=remotes, **changes)
        monkeypatch.setitem(CORPORA, corpus.name, corpus)
        return corpus

    return add


def tiny() -> Corpus:
    return Corpus(
        name="tiny",
        title="Tiny corpus",
        licence="CC0",
        citation="nobody",
        url="https://example.org/tiny",
        layout="tiny/Actor_01/angry_0.wav",
        folder="tiny",
        counts=dict.fromkeys(EMOTIONS, 4),
        speakers=1,
        parse=parse_name,
    )


def tree(folder: Path) -> list[str]:
    """All files and empty folders under ``folder``, links not followed."""
    return sorted(
        str(path.relative_to(folder))
        for path in folder.rglob("*")
        if path.is_symlink() or path.is_file() or not any(path.iterdir())
    )


def assert_whole(home: Path) -> None:
    """All clips are in place with the right bytes, and nothing else is there."""
    expected = [f"data/tiny/Actor_01/{stem}.wav" for stem in CLIPS]
    assert tree(home.parent) == sorted(expected)
    for stem in CLIPS:
        assert (home / f"tiny/Actor_01/{stem}.wav").read_bytes() == sound(stem)


def ranges(site: Publisher) -> list[int | None]:
    """Where each request wanted to begin; None where it did not say."""
    found = [request.get("Range") for request in site.requests]
    return [int(text.removeprefix("bytes=").removesuffix("-")) if text else None for text in found]


# --- all goes well ---


def test_archive_is_fetched_checked_and_unpacked(home, site, offer, capsys):
    offer(site.remote())
    assert download_corpus("tiny") == home / "tiny"
    assert_whole(home)
    assert ranges(site) == [None]
    said = capsys.readouterr()
    assert said.out == ""
    assert "licence CC0" in said.err
    assert "tiny audio.zip: 100%" in said.err


def test_quiet_is_quiet(home, site, offer, capfd):
    offer(site.remote())
    download_corpus("tiny", progress=False)
    assert capfd.readouterr() == ("", "")


def test_complete_corpus_asks_no_network(home, site, offer, capsys):
    offer(site.remote())
    download_corpus("tiny")
    (home / "tiny").chmod(0o555)
    assert download_corpus("tiny") == home / "tiny"
    assert "already complete, nothing to fetch" in capsys.readouterr().err
    assert len(site.requests) == 1
    (home / "tiny").chmod(0o755)
    download_corpus("tiny", force=True)
    assert len(site.requests) == 2
    assert_whole(home)


def test_publisher_who_states_no_size_is_believed(home, site, offer):
    offer(site.remote(size=0))
    download_corpus("tiny")
    assert_whole(home)


@pytest.mark.parametrize("size", [0, len(GOOD)])
def test_server_that_does_not_say_how_much_comes(home, site, offer, size):
    site.says_length = False
    offer(site.remote(size=size))
    download_corpus("tiny")
    assert_whole(home)


def test_several_archives_are_all_needed_and_each_has_its_folder(home, site, offer):
    first, second = site.remote(folder="one"), site.remote(folder="two/more", size=0)
    offer(first, second)
    download_corpus("tiny")
    assert tree(home) == sorted(
        f"tiny/{part}/Actor_01/{stem}.wav" for part in ("one", "two/more") for stem in CLIPS
    )


def test_tar_is_unpacked_too(home, site, offer):
    site.body = tarred({f"Actor_01/{stem}.wav": sound(stem) for stem in CLIPS})
    offer(site.remote())
    download_corpus("tiny")
    assert_whole(home)


def test_folder_stays_under_the_name_it_has(home, site, offer):
    (home / "Tiny-Set").mkdir(parents=True)
    offer(site.remote(), aliases=("tiny set",))
    assert download_corpus("tiny") == home / "Tiny-Set"
    assert len(tree(home / "Tiny-Set")) == 12


# --- what the user has ---


def test_what_is_there_stays(home, site, offer):
    for name in ("mine.wav", "Actor_01/notes.txt", "Actor_01/angry_0.wav", "song/b.wav"):
        (home / "tiny" / name).parent.mkdir(parents=True, exist_ok=True)
        (home / "tiny" / name).write_text("mine")
    offer(site.remote())
    download_corpus("tiny")
    kept = ("mine.wav", "Actor_01/notes.txt", "song/b.wav")
    assert [(home / "tiny" / name).read_text() for name in kept] == ["mine"] * 3
    assert (home / "tiny/Actor_01/angry_0.wav").read_bytes() == sound("angry_0")
    assert len(tree(home)) == len(CLIPS) + 3


def test_corpus_folder_may_be_a_link_to_another_disk(home, site, offer, monkeypatch):
    (home.parent / "disk").mkdir()
    home.mkdir()
    (home / "tiny").symlink_to(home.parent / "disk")
    really = os.replace

    def refuse(source, target):
        if "unpacked" in str(source):
            raise OSError(18, "Invalid cross-device link")
        really(source, target)

    monkeypatch.setattr(_archive.os, "replace", refuse)
    offer(site.remote())
    download_corpus("tiny")
    assert (home / "tiny").is_symlink()
    assert len(tree(home.parent / "disk")) == len(CLIPS)


# --- the network ---


@pytest.mark.parametrize("act", ["truncate", "reset"])
@pytest.mark.parametrize("times", [1, 7])
def test_broken_transfer_is_carried_on(home, site, offer, act, times):
    site.script = [act] * times
    offer(site.remote())
    download_corpus("tiny")
    assert_whole(home)
    starts = ranges(site)
    assert len(starts) == times + 1
    assert starts[0] is None
    assert all(a < b for a, b in itertools.pairwise(starts[1:]))
    assert site.requests[1]["If-Range"] == '"one"'


def test_end_of_the_answer_is_not_the_end_of_the_file(home, site, offer):
    """Without a length in the head, only the publisher's size tells that bytes are missing."""
    site.says_length, site.script = False, ["truncate"]
    offer(site.remote())
    download_corpus("tiny")
    assert_whole(home)
    assert ranges(site) == [None, len(GOOD) // 2]


def test_server_without_ranges_begins_anew(home, site, offer):
    site.script, site.usual = ["truncate"], "plain"
    offer(site.remote())
    download_corpus("tiny")
    assert_whole(home)


def test_no_etag_then_no_condition(home, site, offer):
    site.etag, site.script = "", ["truncate"]
    offer(site.remote())
    download_corpus("tiny")
    assert_whole(home)
    assert ranges(site)[1] > 0
    assert "If-Range" not in site.requests[1]


def test_server_that_always_breaks_off_is_given_up(home, site, offer):
    site.usual = "plain truncate"
    offer(site.remote())
    with pytest.raises(DownloadError, match="are kept") as caught:
        download_corpus("tiny")
    assert f"{len(GOOD) // 2}" in str(caught.value)
    assert site.url in str(caught.value)
    assert "run the same again" in str(caught.value)
    assert len(site.requests) == 1 + _transfer._TRIES
    assert not (home / "tiny").exists()


def test_file_that_changed_between_two_parts_is_fetched_anew(home, site, offer):
    new = GOOD

    def publish():
        site.body, site.etag = new, '"two"'

    site.body = OTHER.ljust(len(GOOD), b"x")[: len(GOOD)]
    site.script = ["truncate", publish]
    offer(Remote(site.url, f"md5:{hashlib.md5(new).hexdigest()}", len(new)))
    download_corpus("tiny")
    assert_whole(home)
    assert len(site.requests) == 2
    assert ranges(site)[1] > 0  # it asked for the rest, and got all


def test_file_of_another_size_between_two_parts_without_an_etag(home, site, offer):
    def publish():
        site.body = GOOD

    site.etag, site.body = "", GOOD + bytes(999)
    site.script = ["truncate", publish, "corrupt"]
    offer(site.remote(size=0, checksum=f"md5:{hashlib.md5(GOOD).hexdigest()}"))
    download_corpus("tiny")
    assert_whole(home)
    assert len(site.requests) == 4  # the change did not use up the retry after wrong bytes


@pytest.mark.parametrize("status", [404, 429, 503])
def test_trouble_that_passes(home, site, offer, status):
    site.script, site.headers = [status, status], {"Retry-After": "1"}
    offer(site.remote())
    download_corpus("tiny")
    assert_whole(home)
    assert len(site.requests) == 3


@pytest.mark.parametrize(("status", "requests"), [(403, 1), (404, 5), (410, 1), (500, 5)])
def test_trouble_that_stays(home, site, offer, status, requests):
    site.usual = status
    offer(site.remote())
    with pytest.raises(DownloadError, match=f"cannot be fetched: {status}") as caught:
        download_corpus("tiny")
    assert site.url in str(caught.value)
    assert len(site.requests) == requests
    assert tree(home.parent) == ["data"]


def test_no_connection(home, offer):
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
    offer(Remote(f"http://127.0.0.1:{port}/a.zip", "md5:" + "0" * 32, 1))
    with pytest.raises(DownloadError, match="Check the connection"):
        download_corpus("tiny")
    offer(Remote("htp:/no.address", "md5:" + "0" * 32, 1))
    with pytest.raises(DownloadError, match="No connection adapters"):
        download_corpus("tiny")


def test_silent_server_times_out(home, site, offer, monkeypatch):
    monkeypatch.setattr(_transfer, "_TIMEOUT_S", (5, 0.2))
    site.script = ["stall"]
    offer(site.remote())
    download_corpus("tiny")
    assert_whole(home)
    assert ranges(site)[1] > 0


# --- the checksum ---


def test_wrong_bytes_are_fetched_once_more(home, site, offer):
    site.script = ["corrupt"]
    offer(site.remote())
    download_corpus("tiny")
    assert_whole(home)
    assert ranges(site) == [None, None]


def test_wrong_beginning_is_found_at_the_end(home, site, offer):
    """A part with a flipped bit: what is appended is right, the whole is not."""
    remote = site.remote()
    offer(remote)
    part = home / ".tiny-download" / f"{download._archive_name(remote)}.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(bytes(5000))
    download_corpus("tiny")
    assert_whole(home)
    assert ranges(site) == [5000, None]


def test_wrong_twice_is_an_error(home, site, offer):
    site.usual = "corrupt"
    offer(site.remote())
    with pytest.raises(DownloadError) as caught:
        download_corpus("tiny")
    said = str(caught.value)
    assert site.url in said
    assert f"expected {site.remote().checksum} but got " in said
    assert "What to do" in said
    assert len(site.requests) == 2
    assert tree(home.parent) == ["data"]


def test_publisher_who_states_no_checksum(home, site, offer):
    offer(site.remote(checksum="", size=0))
    site.script = ["corrupt"]
    with pytest.raises(DownloadError):  # by the sums within the archive
        download_corpus("tiny")
    download_corpus("tiny")  # what was wrong is not kept
    assert_whole(home)
    assert ranges(site) == [None, None]


@pytest.fixture
def packed_on_demand(site, offer):
    """An archive that is packed while it is sent: no length, no checksum, no ranges."""
    site.is_chunked, site.usual, site.etag = True, "plain", ""
    offer(site.remote(checksum="", size=0))
    return site


def test_archive_packed_on_demand(home, packed_on_demand):
    download_corpus("tiny")
    assert_whole(home)
    assert ranges(packed_on_demand) == [None]


def test_archive_packed_on_demand_that_breaks_off_begins_anew(home, packed_on_demand):
    packed_on_demand.script = ["plain truncate", "plain reset"]
    download_corpus("tiny")
    assert_whole(home)
    assert len(packed_on_demand.requests) == 3


def test_archive_packed_on_demand_whose_end_nobody_tells(home, packed_on_demand):
    packed_on_demand.is_chunked = packed_on_demand.says_length = False
    packed_on_demand.script = ["plain truncate"]
    with pytest.raises(DownloadError, match="neither a zip nor a tar"):
        download_corpus("tiny")
    assert tree(home.parent) == ["data"]
    download_corpus("tiny")
    assert_whole(home)


def test_login_page_instead_of_the_file(home, site, offer):
    remote = site.remote()
    site.body = b"<html>please log in</html>"
    offer(remote)
    with pytest.raises(DownloadError, match=f"offers 26 bytes, expected {len(GOOD)}"):
        download_corpus("tiny")
    assert tree(home.parent) == ["data"]


def test_endless_file_is_cut_off(home, site, offer):
    remote = site.remote()
    site.body, site.says_length = GOOD * 3, False
    offer(remote)
    with pytest.raises(DownloadError, match=f"more than the {len(GOOD)} bytes"):
        download_corpus("tiny")
    assert tree(home.parent) == ["data"]


# --- the disk ---


@pytest.mark.parametrize("size", [0, len(GOOD)])
def test_disk_is_looked_at_first(home, site, offer, monkeypatch, size):
    usage = namedtuple("Usage", "total used free")
    monkeypatch.setattr("shutil.disk_usage", lambda path: usage(10**9, 10**9, 1_000_000))
    offer(site.remote(size=size))
    with pytest.raises(DownloadError, match=r"needed 1\.\d MB, free 1\.0 MB"):
        download_corpus("tiny")
    assert len(site.requests) == (0 if size else 1)
    assert tree(home.parent) == ["data"]


def test_disk_is_looked_at_again_before_unpacking(home, site, offer, monkeypatch):
    site.body = zipped({"angry_0.wav": bytes(30_000_000)})
    offer(site.remote())
    usage = namedtuple("Usage", "total used free")
    monkeypatch.setattr("shutil.disk_usage", lambda path: usage(10**9, 10**9, 20_000_000))
    with pytest.raises(DownloadError, match=r"unpacking .*: needed 30\.0 MB, free 20\.0 MB"):
        download_corpus("tiny")
    assert not (home / "tiny").exists()


@pytest.mark.parametrize("found", ["before", "while writing"])
def test_full_disk_is_not_the_fault_of_an_unchecked_archive(home, site, offer, monkeypatch, found):
    def fill_up(*_, **__):
        raise OSError(28, "No space left on device")

    remote = site.remote(checksum="", size=0)
    offer(remote)
    usage = namedtuple("Usage", "total used free")
    with monkeypatch.context() as patch:
        if found == "before":
            patch.setattr(download, "fetch_file", fetch_then_fill(patch, usage(10**9, 10**9, 9)))
        else:
            patch.setattr(_archive, "open", fill_up, raising=False)
        with pytest.raises(DownloadError, match="not enough disk for unpack|No space left"):
            download_corpus("tiny")
    assert tree(home.parent) == [f"data/.tiny-download/{download._archive_name(remote)}"]
    download_corpus("tiny")
    assert_whole(home)
    assert len(site.requests) == 1  # the archive was kept


def fetch_then_fill(patch, usage):
    def fetch(*arguments, **options):
        _transfer.fetch_file(*arguments, **options)
        patch.setattr("shutil.disk_usage", lambda path: usage)

    return fetch


def test_disk_that_fills_up_on_the_way(home, site, offer, monkeypatch):
    def fail(*_):
        raise OSError(28, "No space left on device")

    offer(site.remote())
    with monkeypatch.context() as patch:
        patch.setattr(download, "move_into", fail)
        with pytest.raises(DownloadError, match="No space left on device.*SER_DATA"):
            download_corpus("tiny")
    assert tree(home.parent) == [f"data/.tiny-download/{download._archive_name(site.remote())}"]
    download_corpus("tiny")
    assert_whole(home)
    assert len(site.requests) == 1  # the archive was still there


@pytest.mark.parametrize("kind", ["file", "link to nowhere", "work"])
def test_data_folder_that_is_none(home, site, offer, monkeypatch, kind):
    if kind == "file":
        home.write_text("not a folder")
    elif kind == "work":
        home.mkdir()
        (home / ".tiny-download").symlink_to("nowhere")
    else:
        monkeypatch.setattr("helpers.corpora.corpus.data_home", lambda: home)
        home.symlink_to("nowhere/at all")
    offer(site.remote())
    with pytest.raises(DownloadError, match="SER_DATA may name another"):
        download_corpus("tiny")


# --- hostile archives ---


def tarred(members: dict[str, bytes], *extra: tarfile.TarInfo) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:gz") as archive:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
        for info in extra:
            archive.addfile(info)
    return file.getvalue()


def tar_with(kind: bytes, name: str = "bad.wav", target: str = "/etc/passwd") -> bytes:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return tarred({"angry_0.wav": sound("angry_0")}, info)


def zip_with(name: str, *, mode: int = 0, content: bytes = b"bad", flag: int = 0) -> bytes:
    info = zipfile.ZipInfo("placeholder")
    info.filename, info.external_attr = name, mode << 16
    info.compress_type = zipfile.ZIP_DEFLATED
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("angry_0.wav", sound("angry_0"))
        archive.writestr(info, content)
    data = bytearray(file.getvalue())
    if flag:  # in both heads of the last member
        for mark, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
            data[data.rindex(mark) + offset] |= flag
    return bytes(data)


def lying_zip() -> bytes:
    """The list of contents says 10 bytes, the member has 100 million."""
    data = bytearray(zip_with("bad.wav", content=bytes(100_000_000)))
    place = data.rindex(b"PK\x01\x02") + 24
    data[place : place + 4] = struct.pack("<I", 10)
    return bytes(data)


def not_utf8_zip() -> bytes:
    """A name that is marked as UTF-8 and is not."""
    return zip_with("\u00e4.wav").replace("\u00e4".encode(), b"\xff\xff")


#: What git leaves in place of a large file.
POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 9\n"
HOSTILE = {
    "parent": (zip_with("../escaped.wav"), "out of the folder"),
    "deep parent": (zip_with("a/../../escaped.wav"), "out of the folder"),
    "drive": (zip_with("C:/escaped.wav"), "absolute"),
    "backslash": (zip_with("..\\escaped.wav"), "absolute"),
    "junk name with parent": (zip_with("__MACOSX/../../escaped.wav"), "out of the folder"),
    "link": (zip_with("bad.wav", mode=0o120777, content=b"/etc/passwd"), "link or a device"),
    "device": (zip_with("bad.wav", mode=0o020666), "link or a device"),
    "encrypted": (zip_with("bad.wav", flag=0x1), "encrypted"),
    "control character": (zip_with("bad\x1b[2J.wav"), "cannot be read"),
    "not UTF-8": (not_utf8_zip(), "damaged"),
    "bomb": (zip_with("bad.wav", content=bytes(100_000_000)), "it would come to"),
    "lying bomb": (lying_zip(), "damaged"),
    "damaged": (GOOD[:4000] + bytes(200) + GOOD[4200:], "damaged"),
    "pointer": (zip_with("angry_1.wav", content=POINTER), "git-lfs pointer.*--source kaggle"),
    "tar pointer": (tarred({"angry_1.wav": POINTER}), "git-lfs pointer"),
    "empty": (zipped({}), "no recordings"),
    "no recordings": (zipped({"a.exe": b"x", "readme.txt": b"y"}), "no recordings"),
    "file and folder": (zipped({"a.wav": b"x", "a.wav/b.wav": b"y"}), "cannot be put"),
    "no archive": (b"just text" * 99, "neither a zip nor a tar"),
    "tar parent": (tarred({"a.wav": b"x", "../escaped.wav": b"y"}), "out of the folder"),
    "tar link": (tar_with(tarfile.SYMTYPE), "link or a device"),
    "tar hard link": (tar_with(tarfile.LNKTYPE), "link or a device"),
    "tar device": (tar_with(tarfile.CHRTYPE), "link or a device"),
    "tar pipe": (tar_with(tarfile.FIFOTYPE), "link or a device"),
    "tar bomb": (tarred({"a.wav": bytes(70_000_000)}), "it would come to"),
    "tar cut off": (tarred({"a.wav": sound("a")})[:-3000], "damaged"),
    "tar name that is not UTF-8": (tarred({"a.wav": b"x", "b\udcff.wav": b"y"}), "cannot be read"),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_nothing_escapes_and_nothing_is_half_there(home, site, offer, case):
    site.body, message = HOSTILE[case]
    offer(site.remote())
    with pytest.raises(DownloadError, match=message) as caught:
        download_corpus("tiny")
    str(caught.value).encode()  # can be shown
    archive = download._archive_name(site.remote())
    assert tree(home.parent) == [f"data/.tiny-download/{archive}"]


@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_absolute_path_is_refused(home, site, offer, kind):
    path = f"{home.parent}/escaped.wav"
    site.body = zip_with(path) if kind == "zip" else tarred({"a.wav": b"x", path: b"y"})
    offer(site.remote())
    with pytest.raises(DownloadError, match="has an absolute path"):
        download_corpus("tiny")
    assert len(tree(home.parent)) == 1


def test_only_recordings_and_small_texts_are_kept(home, site, offer, monkeypatch):
    monkeypatch.setattr(_archive, "_LARGEST_TEXT", 1000)
    clips = {f"Actor_01/{stem}.wav": sound(stem) for stem in CLIPS}
    extra = ("README", "LICENSE.txt", "votes.csv", "sub/a.FLAC")
    junk = ("setup.exe", "run.sh", "a.pkl", "__MACOSX/Actor_01/._a.wav", "._a.wav", ".DS_Store")
    site.body = zipped(
        {**clips, **dict.fromkeys((*extra, *junk), b"x"), "big.txt": bytes(1001), "empty/": b""}
    )
    offer(site.remote())
    download_corpus("tiny")
    assert tree(home) == sorted(f"tiny/{name}" for name in (*clips, *extra))


def test_names_of_an_old_zip_are_taken_as_they_come(home, site, offer):
    site.body = zip_with("M##nner/angry_1.wav").replace(b"M##nner", b"M\xe4\xffnner")
    offer(site.remote())
    download_corpus("tiny")
    assert len(tree(home)) == 2


def test_member_longer_than_it_says_is_refused(tmp_path):
    member = _archive.Member("a.wav", 10, lambda: io.BytesIO(bytes(5_000_000)))
    with pytest.raises(DownloadError, match="expected 10"):
        _archive._write([member], tmp_path / "a.zip", tmp_path / "made")
    assert (tmp_path / "made/a.wav").stat().st_size <= _archive._CHUNK


def test_archive_with_missing_clips_is_reported(home, site, offer, caplog):
    site.body = zipped({f"{stem}.wav": sound(stem) for stem in CLIPS[:-1]})
    offer(site.remote())
    download_corpus("tiny")
    assert "3 of 4 sad" in caplog.text


def test_archive_of_something_else(home, site, offer):
    site.body = zipped({"holiday.wav": b"x"})
    offer(site.remote())
    with pytest.raises(DownloadError, match="fetched, but .*named by its rule"):
        download_corpus("tiny")


# --- file by file ---


class Shelf:
    """A dataset on the server ``site``: its list, and each clip under an address of its own."""

    def __init__(self, site: Publisher):
        self.dataset = Dataverse(f"http://127.0.0.1:{site.server_port}", "doi:10.5072/A/B")
        self.site = site
        self.entries = [
            self.add(number, f"{stem}.wav", sound(stem)) for number, stem in enumerate(CLIPS, 101)
        ]
        self.publish()

    def add(self, number: int, name: str, content: bytes, folder: str = "Actor_01") -> dict:
        self.site.files[f"/api/access/datafile/{number}"] = content
        digest = hashlib.md5(content).hexdigest()
        file = {"id": number, "filename": name, "filesize": len(content), "md5": digest}
        file["checksum"] = {"type": "MD5", "value": digest}
        return {"label": name, "directoryLabel": folder, "dataFile": file}

    def publish(self):
        """Put the entries as they are now into the list."""
        answer = {"status": "OK", "data": {"latestVersion": {"files": self.entries}}}
        self.site.files[self.listing] = json.dumps(answer).encode()

    @property
    def listing(self) -> str:
        return self.dataset.listing.removeprefix(self.dataset.site)

    def n_asked(self, number: int) -> int:
        return self.site.paths.count(f"/api/access/datafile/{number}")


@pytest.fixture
def shelf(home, site, offer):
    shelf = Shelf(site)
    offer(dataverse=shelf.dataset)
    return shelf


def test_files_are_fetched_one_by_one_under_one_bar(home, site, shelf, capsys):
    assert download_corpus("tiny") == home / "tiny"
    assert_whole(home)
    assert site.paths[0] == shelf.listing
    assert len(site.paths) == 1 + len(CLIPS)
    said = capsys.readouterr().err
    assert "licence CC0" in said
    assert "tiny: 100%" in said
    assert "angry_0" not in said
    download_corpus("tiny")  # complete
    assert len(site.paths) == 1 + len(CLIPS)


def test_files_quietly(home, shelf, capfd):
    download_corpus("tiny", progress=False)
    assert capfd.readouterr() == ("", "")
    import pooch

    assert pooch.get_logger().level < 30  # of whoever uses it for something else


def test_files_join_what_is_there(home, shelf):
    (home / "tiny/Actor_01").mkdir(parents=True)
    (home / "tiny/Actor_01/mine.txt").write_text("mine")
    download_corpus("tiny")
    assert len(tree(home.parent)) == len(CLIPS) + 1


@pytest.mark.parametrize("act", ["corrupt", "truncate", "reset", 503])
def test_file_that_goes_wrong_once(home, site, shelf, act):
    site.acts["/api/access/datafile/105"] = [act]
    download_corpus("tiny")
    assert_whole(home)
    assert shelf.n_asked(105) == 2
    assert len(site.paths) == 2 + len(CLIPS)


def test_list_that_breaks_off_once(home, site, shelf):
    site.script = ["truncate"]
    download_corpus("tiny")
    assert_whole(home)


def test_file_that_is_always_wrong(home, site, shelf):
    site.files["/api/access/datafile/105"] = sound("another")
    with pytest.raises(DownloadError, match="wrong both times.*\n.*of 12 files of tiny are there"):
        download_corpus("tiny")
    assert not (home / "tiny").exists()


def test_interrupted_files_are_carried_on(home, site, shelf):
    site.acts["/api/access/datafile/112"] = ["truncate", 403]  # the last one
    with pytest.raises(DownloadError, match="files of tiny are there and kept") as caught:
        download_corpus("tiny")
    kept = int(re.search("([0-9]+) of 12 files", str(caught.value))[1])
    assert 12 - _dataverse._AT_A_TIME <= kept < 12
    assert os.listdir(home) == [".tiny-download"]  # nothing in place, whole or half
    asked = len(site.paths)

    download_corpus("tiny")
    assert_whole(home)
    assert site.paths[asked] == shelf.listing
    assert len(site.paths) - asked == 1 + 12 - kept
    starts = [start for start in ranges(site)[asked:] if start]
    assert len(starts) == 1  # the half one, from where it ended


def test_killed_fetching_of_files_is_carried_on(home, site, shelf):
    site.acts["/api/access/datafile/112"] = ["stall"]
    folder = home / ".tiny-download/tiny-files/Actor_01"
    with start_child(Remote(shelf.dataset.site, shelf.dataset.doi, 0)) as child:
        wait_for(lambda: shelf.n_asked(112) and len(list(folder.glob("*.wav"))) == 11)
        child.kill()
    assert os.listdir(home) == [".tiny-download"]
    asked = len(site.paths)
    (folder / "tmpstray").touch()
    download_corpus("tiny")
    assert_whole(home)
    assert site.paths[asked:] == [shelf.listing, "/api/access/datafile/112"]


def test_one_file_that_fails_ends_the_tries_of_the_others(home, site, shelf, monkeypatch):
    monkeypatch.setattr(_transfer, "_WAIT_S", 5.0)
    monkeypatch.setattr(_transfer, "_LONGEST_WAIT_S", 5.0)
    site.usual = 503
    site.acts = {shelf.listing: ["well"], "/api/access/datafile/102": [403]}
    with pytest.raises(DownloadError, match="102 cannot be fetched: 403"):
        download_corpus("tiny")
    assert shelf.n_asked(101) <= 2  # not five times
    assert shelf.n_asked(112) == 0


def test_file_that_the_publisher_took_back_does_not_stay(home, site, shelf):
    site.acts["/api/access/datafile/112"] = [403]
    shelf.entries.insert(0, shelf.add(99, "extra_1.wav", sound("extra")))
    shelf.publish()
    with pytest.raises(DownloadError, match="403"):
        download_corpus("tiny")
    assert (home / ".tiny-download/tiny-files/Actor_01/extra_1.wav").exists()
    del shelf.entries[0]
    shelf.publish()
    download_corpus("tiny")
    assert_whole(home)


def test_copy_from_kaggle_ends_an_interrupted_fetch(home, site, shelf, offer, kaggle):
    offer(dataverse=shelf.dataset, kaggle="someone/tiny")
    site.acts["/api/access/datafile/112"] = [403]
    with pytest.raises(DownloadError, match="403"):
        download_corpus("tiny")
    download_corpus("tiny", source="kaggle")
    assert tree(home) == sorted(f"tiny/Actor_01/{stem}.wav" for stem in CLIPS)


def test_disk_is_looked_at_before_the_first_file(home, site, shelf, monkeypatch):
    usage = namedtuple("Usage", "total used free")
    monkeypatch.setattr("shutil.disk_usage", lambda path: usage(10**9, 10**9, 300_000))
    with pytest.raises(DownloadError, match=r"'tiny': needed 0\.4 MB, free 0\.3 MB"):
        download_corpus("tiny")
    assert site.paths == [shelf.listing]
    assert tree(home.parent) == ["data"]


@pytest.mark.parametrize("site_is", ["closed", 403])
def test_list_that_cannot_be_had(home, site, shelf, offer, site_is):
    if site_is == "closed":
        with socket.socket() as closed:
            closed.bind(("127.0.0.1", 0))
            port = closed.getsockname()[1]
        offer(dataverse=Dataverse(f"http://127.0.0.1:{port}", "doi:10.5072/A/B"))
    else:
        site.usual = site_is
    with pytest.raises(DownloadError, match="Check the connection"):
        download_corpus("tiny")
    assert tree(home.parent) == ["data"]


@pytest.mark.parametrize(
    "answer",
    [
        b"<!DOCTYPE html><title>Just a moment</title>",
        b"",
        b"\xff\xfe",
        b"[" * 100_000,
        b"[]",
        b'{"status": "ERROR", "message": "not found"}',
        b'{"data": {"latestVersion": {"files": null}}}',
    ],
)
def test_answer_that_is_no_list(home, site, shelf, answer):
    site.files[shelf.listing] = answer
    with pytest.raises(DownloadError, match="expected Dataverse's list of files as JSON") as caught:
        download_corpus("tiny")
    assert answer[:20].decode("ascii", "ignore") in str(caught.value)
    assert "https://doi.org/10.5072/A/B" in str(caught.value)
    assert site.paths == [shelf.listing]
    assert tree(home.parent) == ["data"]


def test_list_that_is_too_long(home, shelf, monkeypatch):
    monkeypatch.setattr(_dataverse, "_LARGEST_LIST", 1000)
    with pytest.raises(DownloadError, match=r"found \d,\d\d\d bytes, expected"):
        download_corpus("tiny")


INCOMPLETE = {
    "no checksum": {"checksum": None, "md5": None},
    "empty checksum": {"checksum": {"type": "MD5", "value": ""}},
    "short checksum": {"checksum": {"type": "SHA-1", "value": "0" * 32}},
    "unknown checksum": {"checksum": {"type": "CRC32", "value": "0" * 8}},
    "checksum that is none": {"checksum": "0" * 32},
    "no size": {"filesize": None},
    "size 0": {"filesize": 0},
    "size in words": {"filesize": "12"},
    "address elsewhere": {"id": "../../x"},
}


@pytest.mark.parametrize("case", INCOMPLETE)
def test_entry_without_what_is_needed(home, site, shelf, case):
    shelf.entries[3]["dataFile"].update(INCOMPLETE[case])
    shelf.publish()
    with pytest.raises(DownloadError, match="an entry without what is needed .*with the checksum"):
        download_corpus("tiny")
    assert site.paths == [shelf.listing]
    assert tree(home.parent) == ["data"]


def test_entries_that_are_none(home, shelf):
    for entries in ([None], ["a"], [{}], [{"dataFile": {}}], [{"label": 3, "dataFile": None}]):
        shelf.entries = entries
        shelf.publish()
        with pytest.raises(DownloadError, match="an entry without what is needed"):
            download_corpus("tiny")


@pytest.mark.parametrize("kind", ["MD5", "SHA-1", "SHA-256", "SHA-512", "md5 alone"])
def test_checksums_that_dataverse_may_state(home, shelf, kind):
    for entry, stem in zip(shelf.entries, CLIPS, strict=True):
        if kind == "md5 alone":
            del entry["dataFile"]["checksum"]
            continue
        digest = hashlib.new(kind.replace("-", ""), sound(stem)).hexdigest()
        entry["dataFile"]["checksum"] = {"type": kind, "value": digest.upper()}
        del entry["dataFile"]["md5"]
    shelf.publish()
    download_corpus("tiny")
    assert_whole(home)


LISTED = {
    "parent": ("../escaped.wav", "", "out of the folder"),
    "parent in the folder": ("escaped.wav", "../..", "out of the folder"),
    "absolute": ("escaped.wav", "/tmp", "absolute"),
    "drive": ("C:escaped.wav", "", "absolute"),
    "backslash": ("..\\escaped.wav", "", "absolute"),
    "control character": ("a\x1b[2J.wav", "", "cannot be read"),
    "half a character": ("a\ud800.wav", "", "cannot be read"),
    "twice": ("ANGRY_0.wav", "actor_01", "twice"),
    "much too large": ("large.wav", "", "it would come to"),
}


@pytest.mark.parametrize("case", LISTED)
def test_list_is_trusted_no_more_than_an_archive(home, site, shelf, case):
    name, folder, message = LISTED[case]
    shelf.entries.append(shelf.add(200, name, b"x", folder))
    if case == "much too large":
        shelf.entries[-1]["dataFile"]["filesize"] = 10**12
    shelf.publish()
    with pytest.raises(DownloadError, match=f"refused, .*{message}") as caught:
        download_corpus("tiny")
    str(caught.value).encode()  # can be shown
    assert site.paths == [shelf.listing]
    assert tree(home.parent) == ["data"]


@pytest.mark.parametrize("entries", [0, 1])
def test_list_without_recordings(home, shelf, entries):
    shelf.entries = [shelf.add(200, "readme.txt", b"x")] * entries
    shelf.publish()
    with pytest.raises(DownloadError, match="no recordings in it"):
        download_corpus("tiny")


def test_only_recordings_and_small_texts_are_fetched(home, site, shelf, monkeypatch):
    monkeypatch.setattr(_archive, "_LARGEST_TEXT", 1000)
    extra = ("readme.txt", "setup.exe", "._a.wav", "table.tab", "big.txt")
    for number, name in enumerate(extra, 200):
        content = bytes(1001) if name == "big.txt" else b"x"
        shelf.entries.append(shelf.add(number, name, content, ""))
    shelf.publish()
    download_corpus("tiny")
    assert tree(home)[-1] == "tiny/readme.txt"
    assert len(tree(home)) == len(CLIPS) + 1
    assert len(site.paths) == 2 + len(CLIPS)


# --- killed, and two at a time ---

CHILD = """
import sys
from dataclasses import replace
sys.path.insert(0, sys.argv[1])
from test_download import Dataverse, Remote, tiny
from helpers.corpora import CORPORA
from helpers.corpora.corpus import Corpus, Dataverse, not_found
from helpers.corpora.download import download_corpus

url, checksum, size = sys.argv[2:]
if checksum.startswith("doi:"):
    CORPORA["tiny"] = replace(tiny(), dataverse=Dataverse(url, checksum))
else:
    CORPORA["tiny"] = replace(tiny(), remotes=(Remote(url, checksum, int(size)),))
download_corpus("tiny", progress=False)
"""


def start_child(remote: Remote, prelude: str = "") -> subprocess.Popen:
    values = (str(ROOT / "tests"), remote.url, remote.checksum, str(remote.size))
    code = prelude + CHILD
    return subprocess.Popen([sys.executable, "-B", "-c", code, *values], cwd=ROOT)


def wait_for(condition, limit_s: float = 30) -> None:
    until = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < until, "waited in vain"
        time.sleep(0.02)


def test_killed_download_is_carried_on(home, site, offer):
    remote = site.remote()
    offer(remote)
    part = home / ".tiny-download" / f"{download._archive_name(remote)}.part"
    site.script = ["stall"]
    with start_child(remote) as child:
        # It reads larger pieces than the tests do; the one it waits for is lost with it.
        wait_for(lambda: part.exists() and part.stat().st_size >= 1 << 16)
        child.kill()
    assert child.returncode == -signal.SIGKILL
    assert os.listdir(home) == [".tiny-download"]  # nothing in place, whole or half
    left = {path.name for path in part.parent.iterdir() if path.stat().st_size}
    assert left == {part.name, f"{part.name}.json"}
    got = part.stat().st_size

    download_corpus("tiny")
    assert_whole(home)
    assert ranges(site) == [None, got]
    assert site.requests[1]["If-Range"] == '"one"'


STALL_AT_FIFTH = """
import builtins, itertools, time
from helpers.corpora import _archive

calls = itertools.count(1)
def slow(*arguments):
    time.sleep(60 if next(calls) == 5 else 0)
    return builtins.open(*arguments)
_archive.open = slow
"""


def test_killed_unpacking_leaves_nothing_in_place(home, site, offer):
    remote = site.remote()
    offer(remote)
    made = home / ".tiny-download/unpacked/Actor_01"
    with start_child(remote, STALL_AT_FIFTH) as child:
        wait_for(lambda: made.is_dir() and len(os.listdir(made)) == 4)
        child.kill()
    assert os.listdir(home) == [".tiny-download"]
    (made / "stray.wav").touch()
    download_corpus("tiny")
    assert_whole(home)
    assert len(site.requests) == 1  # the archive was whole


def test_interrupted_part_of_another_corpus_in_the_folder_stays(home, site, offer):
    part = home / ".tiny-download/12345678-song.zip.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(b"half")
    offer(site.remote())
    download_corpus("tiny")
    assert part.read_bytes() == b"half"
    assert [path.name for path in part.parent.iterdir()] == [part.name]


def test_second_process_waits_for_the_first(home, site, offer, capsys):
    remote = site.remote()
    offer(remote)
    site.script = ["stall"]
    with start_child(remote) as child:
        wait_for(lambda: site.requests)
        second = threading.Thread(target=download_corpus, args=("tiny",))
        second.start()
        time.sleep(0.2)
        assert second.is_alive()
        assert len(site.requests) == 1
        site.go_on.set()
        second.join(30)
    assert child.returncode == 0
    assert not second.is_alive()
    said = capsys.readouterr().err
    assert "another process is fetching" in said
    assert "the other process has fetched it" in said
    assert len(site.requests) == 2  # both of the first: it was cut short and carried on
    assert_whole(home)


def test_many_at_a_time_fetch_once(home, site, offer):
    offer(site.remote())
    errors = []

    def fetch():
        try:
            download_corpus("tiny", progress=False)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=fetch) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert errors == []
    assert len(site.requests) == 1
    assert_whole(home)


def test_lock_that_was_tidied_up_meanwhile_is_none(tmp_path, monkeypatch):
    def claim(handle):
        (tmp_path / "work/lock").unlink()  # between our opening and locking it
        return really(handle)

    really = download._claim
    with monkeypatch.context() as patch:
        patch.setattr(download, "_claim", claim)
        assert download._try_lock(tmp_path / "work") is None
    handle = download._try_lock(tmp_path / "work")
    assert handle is not None
    assert download._try_lock(tmp_path / "work") is None
    os.close(handle)


# --- no archive to fetch ---


def test_unknown_name(home):
    with pytest.raises(DownloadError, match="unknown corpus 'tny': known are demo, "):
        download_corpus("tny")
    assert issubclass(DownloadError, UserError)


@pytest.mark.parametrize(
    "name", [name for name, c in CORPORA.items() if not (c.is_offered or c.generated)]
)
def test_corpus_without_an_archive_says_where_to_ask(home, name):
    corpus = CORPORA[name]
    with pytest.raises(DownloadError, match="cannot be fetched from here") as caught:
        download_corpus(name)
    for part in (corpus.url, corpus.licence, corpus.layout.split()[0], str(home), corpus.kaggle):
        assert part in str(caught.value)
    assert not home.exists()


def test_part_of_a_corpus_without_an_archive(home, offer):
    offer()
    (home / "tiny").mkdir(parents=True)
    (home / "tiny/angry_0.wav").touch()
    with pytest.raises(DownloadError, match="1 of 12 clips in .*; the others: https://example"):
        download_corpus("tiny")


def test_demo_is_made(home, monkeypatch):
    made = []
    demo = CORPORA["demo"]

    def make(root):
        made.append(root)
        (root / "a").mkdir(parents=True, exist_ok=True)
        (root / "a/v01_angry_back.wav").touch()

    monkeypatch.setitem(CORPORA, "demo", replace(demo, make=make, counts={}))
    assert download_corpus("demo") == home / "demo"
    assert made == [home / "demo"]


def test_demo_that_cannot_be_made(home, monkeypatch):
    def fail(root):
        raise UserError("no voice")

    monkeypatch.setitem(CORPORA, "demo", replace(CORPORA["demo"], make=fail))
    with pytest.raises(DownloadError, match="no voice"):
        download_corpus("demo")


def test_missing_extra_is_explained(home, site, offer, monkeypatch):
    monkeypatch.setitem(sys.modules, "pooch", None)
    monkeypatch.setitem(sys.modules, "kagglehub", None)
    offer(site.remote(), kaggle="someone/tiny")
    for source in download.SOURCES:
        with pytest.raises(DownloadError, match=r"pip install -e '\.\[download\]'"):
            download_corpus("tiny", source=source)


# --- Kaggle ---


@pytest.fixture
def kaggle(monkeypatch, tmp_path):
    """A stand-in for kagglehub, whose copy has each clip twice, and other files."""
    copy = tmp_path / "cache"
    for folder in ("Actor_01", "again/Actor_01"):
        (copy / folder).mkdir(parents=True)
        for stem in CLIPS:
            (copy / folder / f"{stem}.wav").write_bytes(sound(stem))
    (copy / "kernel.py").write_text("print()")
    (copy / "other.wav").touch()
    calls = []

    def fetch(handle, *, force_download):
        calls.append((handle, force_download))
        return str(copy)

    stand_in = SimpleNamespace(dataset_download=fetch, calls=calls, copy=copy)
    monkeypatch.setitem(sys.modules, "kagglehub", stand_in)
    return stand_in


def test_copy_from_kaggle(home, offer, kaggle, capsys):
    offer(kaggle="someone/tiny")
    assert download_corpus("tiny", source="kaggle") == home / "tiny"
    assert tree(home) == sorted(f"tiny/Actor_01/{stem}.wav" for stem in CLIPS)
    assert kaggle.calls == [("someone/tiny", False)]
    assert str(kaggle.copy) in capsys.readouterr().err
    download_corpus("tiny", source="kaggle")
    assert len(kaggle.calls) == 1  # complete


def test_kaggle_refuses(home, offer, kaggle, monkeypatch):
    def refuse(*_, **__):
        raise RuntimeError("403 Client Error")

    monkeypatch.setattr(kaggle, "dataset_download", refuse)
    offer(kaggle="someone/tiny")
    with pytest.raises(DownloadError, match="someone/tiny .*403 Client Error.*example.org/tiny"):
        download_corpus("tiny", source="kaggle")
    assert tree(home) == []


def test_kaggle_has_something_else(home, offer, kaggle):
    for path in kaggle.copy.rglob("*_?.wav"):
        path.unlink()
    offer(kaggle="someone/tiny")
    with pytest.raises(DownloadError, match="has no clip|named by its rule"):
        download_corpus("tiny", source="kaggle")
    assert tree(home) == []


def test_real_kagglehub_is_called_as_it_wants():
    """The stand-in has the signature of the real one."""
    if find_spec("kagglehub") is None:
        skip_or_fail("no kagglehub: pip install -e '.[download]'")
    kagglehub = importlib.import_module("kagglehub")
    parameters = inspect.signature(kagglehub.dataset_download).parameters
    assert {"handle", "force_download"} <= set(parameters)


def test_sources_are_named(home, offer):
    offer()
    with pytest.raises(DownloadError, match="source 'ftp': expected one of publisher, kaggle"):
        download_corpus("tiny", source="ftp")
    with pytest.raises(DownloadError, match="no copy of 'tiny' on Kaggle"):
        download_corpus("tiny", source="kaggle")


# --- what is published ---


def test_published_remotes_are_complete():
    remotes = [remote for corpus in CORPORA.values() for remote in corpus.remotes]
    assert len({remote.url for remote in remotes}) == len(remotes)
    stated = [remote for remote in remotes if remote.checksum]
    for remote in stated:
        assert remote.url.startswith("https://")
        assert re.fullmatch("md5:[0-9a-f]{32}|sha256:[0-9a-f]{64}", remote.checksum)
        assert remote.size > 0
    assert [remote for remote in remotes if remote not in stated] == [
        *CORPORA["cremad"].remotes,
        *CORPORA["emodb"].remotes,
    ]
    not_offered = [name for name, c in CORPORA.items() if not (c.is_offered or c.generated)]
    assert not_offered == ["savee", "four-in-one"]


def test_missing_corpus_says_how_it_is_fetched(home):
    for name in ("cremad", "emodb", "ravdess", "tess"):
        said = str(not_found(CORPORA[name], home / name))
        assert f"Get it:   ser corpora get {name}, or by hand: http" in said
    assert "ser corpora get" not in str(not_found(CORPORA["savee"], home / "savee"))


def test_published_archive_packed_on_demand_is_of_one_state():
    """Not of a branch, which moves on: the name in the work folder tells which state it is of."""
    (remote,) = CORPORA["cremad"].remotes
    (commit,) = set(re.findall("[0-9a-f]{40}", remote.url))
    assert remote.url.startswith("https://")
    assert remote.url.endswith("?path=AudioWAV")
    assert download._archive_name(remote) == f"unchecked-crema-d-mirror-{commit}.zip"


def test_published_dataset_is_named_as_in_the_citation():
    dataset = CORPORA["tess"].dataverse
    assert dataset.listing == (
        "https://borealisdata.ca/api/datasets/:persistentId/?persistentId=doi:10.5683/SP2/E8H2MF"
    )
    assert dataset.doi in CORPORA["tess"].citation
    assert dataset.page == CORPORA["tess"].url


def test_importing_takes_no_network_package():
    names = "pooch kagglehub requests urllib3"
    code = (
        f"import sys, helpers.corpora.download; print(*set('{names}'.split()) & set(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-B", "-c", code], capture_output=True, text=True, cwd=ROOT, check=True
    )
    assert done.stdout.strip() == ""
