"""A corpus arrives whole or not at all, whatever the network, the archive and the disk do.

A real server on this machine plays the publisher; nothing here asks the internet.
"""

from __future__ import annotations

import hashlib
import io
import re
import socket
import threading
import zipfile
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from helpers.corpora import CORPORA, Corpus
from helpers.corpora.download import download_corpus
from helpers.errors import UserError

CLIPS = [f"{emotion}_{number}" for emotion in ("angry", "happy", "sad") for number in range(4)]


def parse_name(stem: str) -> tuple[str, dict] | None:
    """The rule of the corpus here: ``angry_3``."""
    row = {"corpus": "tiny", "emotion": stem.partition("_")[0]}
    return (stem, row) if stem in CLIPS else None


TINY = Corpus(
    name="tiny",
    title="Tiny corpus",
    licence="CC0",
    citation="nobody",
    url="https://example.org/tiny",
    layout="tiny/Actor_01/angry_0.wav",
    folder="tiny",
    counts=dict.fromkeys(("angry", "happy", "sad"), 4),
    speakers=1,
    parse=parse_name,
)


def sound(stem: str) -> bytes:
    """Bytes that do not pack, the same ones each time; the loader reads names only."""
    return b"".join(hashlib.sha512(f"{stem}{i}".encode()).digest() for i in range(100))


def zipped(members: dict[str, bytes]) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return file.getvalue()


MEMBERS = {f"Actor_01/{stem}.wav": sound(stem) for stem in CLIPS}
GOOD = zipped(MEMBERS)
#: What git leaves in place of a large file.


class Publisher(ThreadingHTTPServer):
    """Serves ``content``, half of it if it is to be ``truncated``, or an error."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Reply)
        self.content, self.status, self.truncated, self.n_asked = GOOD, 200, False, 0

    def offer(self, content: bytes) -> dict[str, str]:
        """Serve this archive; gives where it is and its checksum."""
        self.content = content
        checksum = f"md5:{hashlib.md5(content).hexdigest()}"
        return {"archive": f"http://127.0.0.1:{self.server_port}/x", "checksum": checksum}


class Reply(BaseHTTPRequestHandler):
    server: Publisher

    def log_message(self, *_):
        """Not into the tests' output."""

    def do_GET(self):  # noqa: N802, the server's name for it
        self.server.n_asked += 1
        body = self.server.content
        self.send_response(self.server.status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[: len(body) // 2] if self.server.truncated else body)


@pytest.fixture
def site():
    with Publisher() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def home(tmp_path, monkeypatch):
    """An empty data folder, one level down so that an escape would be seen."""
    monkeypatch.setenv("SER_DATA", str(tmp_path / "data"))
    return tmp_path / "data"


@pytest.fixture
def offer(monkeypatch, site):
    """``offer(content)`` makes a corpus called tiny known, whose archive is this."""

    def add(content: bytes | None = GOOD, **changes):
        offered = site.offer(content) if content is not None else {}
        monkeypatch.setitem(CORPORA, "tiny", replace(TINY, **{**offered, **changes}))

    return add


def tree(folder: Path) -> list[str]:
    """All files and empty folders under ``folder``, links not followed."""
    return sorted(
        str(path.relative_to(folder))
        for path in folder.rglob("*")
        if path.is_symlink() or path.is_file() or not any(path.iterdir())
    )


def assert_whole(home: Path) -> None:
    """All clips are in place with the right bytes, and nothing else is there."""
    assert tree(home.parent) == sorted(f"data/tiny/{name}" for name in MEMBERS)
    assert all((home / "tiny" / m).read_bytes() == content for m, content in MEMBERS.items())


# --- all goes well ---


def test_corpus_is_fetched_once(home, site, offer, capsys):
    offer()
    assert download_corpus("tiny") == home / "tiny"
    assert_whole(home)
    said = capsys.readouterr()
    assert said.out == "" and "licence CC0" in said.err and "100%" in said.err
    home.chmod(0o555)
    download_corpus("tiny")
    home.chmod(0o755)
    assert site.n_asked == 1
    assert capsys.readouterr().err == "tiny: already complete, nothing to fetch\n"


def test_what_is_there_stays_and_what_is_hidden_does_not_come(home, offer):
    mine = ("mine.wav", "Actor_01/notes.txt", "song/b.wav")
    for name in (*mine, "Actor_01/angry_0.wav"):
        (home / "Tiny" / name).parent.mkdir(parents=True, exist_ok=True)
        (home / "Tiny" / name).write_text("mine")
    others = ("LICENSE.txt", "__MACOSX/Actor_01/._a.wav", "._a.wav", ".DS_Store")
    offer(zipped({**MEMBERS, **dict.fromkeys(others, b"x")}))
    assert download_corpus("tiny") == home / "Tiny"  # under the name that it has
    assert [(home / "Tiny" / name).read_text() for name in mine] == ["mine"] * 3
    assert (home / "Tiny/Actor_01/angry_0.wav").read_bytes() == sound("angry_0")
    assert len(tree(home)) == len(CLIPS) + 4


# --- the network and the disk ---


@pytest.mark.parametrize(
    ("trouble", "message"),
    [
        ({"content": GOOD[:-9]}, "expected md5:.* but got .* replaced the file"),
        ({"truncated": True}, "cannot be fetched: .*run the same again"),
        ({"status": 404}, "cannot be fetched: 404 .*https://example.org/tiny"),
    ],
)
def test_trouble_is_said_and_the_next_call_is_whole(home, site, offer, trouble, message):
    offer()
    vars(site).update(trouble)
    with pytest.raises(UserError, match=message):
        download_corpus("tiny")
    assert not (home / "tiny").exists()
    vars(site).update(content=GOOD, truncated=False, status=200)
    download_corpus("tiny")
    assert_whole(home)


@pytest.mark.parametrize("address", ["http://127.0.0.1:{port}", "htp:/no.address"])
def test_no_connection(home, offer, address):
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        address = address.format(port=closed.getsockname()[1])
    offer(archive=f"{address}/tiny.zip")
    with pytest.raises(UserError, match="Check the connection"):
        download_corpus("tiny")
    assert not (home / "tiny").exists()


def test_login_page_in_place_of_an_archive_without_a_checksum_is_not_kept(home, offer):
    offer(b"<html>please log in</html>", checksum="")
    with pytest.raises(UserError, match="no zip archive"):
        download_corpus("tiny")
    offer(checksum="")
    download_corpus("tiny")
    assert_whole(home)


def test_full_disk_is_said(home, offer, monkeypatch):
    def refuse(*_):
        raise OSError(28, "No space left on device")

    offer()
    monkeypatch.setattr(zipfile.ZipFile, "extractall", refuse)
    with pytest.raises(UserError, match="No space left on device.*SER_DATA"):
        download_corpus("tiny")
    assert tree(home) == [".tiny-download/archive"]


# --- hostile archives ---

ESCAPES = ["../e.wav", "a/../../e.wav", "/deep/e.wav"]
HOSTILE = {
    "bomb": (zipped({"bad.wav": bytes(100_000_000)}), "unpacks to 100,000,000 bytes"),
    "damaged": (GOOD[:4000] + bytes(200) + GOOD[4200:], "damaged"),
    "no archive": (b"just text" * 99, "no zip archive"),
    "empty": (zipped({}), "fetched, but .*not found"),
    "something else": (zipped({"holiday.wav": b"x"}), "fetched, but .*named by its rule"),
    "file and folder": (zipped({"a.wav": b"x", "a.wav/b.wav": b"y"}), "cannot be put"),
    **{f"zip {name!a}": (zipped({name: b"x"}), "fetched, but") for name in ESCAPES},
}


@pytest.mark.parametrize("case", HOSTILE)
def test_nothing_escapes_and_nothing_is_half_there(home, offer, case):
    content, message = HOSTILE[case]
    offer(content)
    with pytest.raises(UserError, match=message):
        download_corpus("tiny")
    assert [path.name for path in home.parent.iterdir()] == ["data"]
    outside = [path for path in home.rglob("e.wav") if not path.is_relative_to(home / "tiny")]
    assert outside == [] and not Path("/deep/e.wav").exists()
    assert not list((home / "tiny").rglob("angry*.wav"))


# --- nothing to fetch ---


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("tny", "unknown corpus 'tny': known are demo, "),
        ("tiny", r"cannot be fetched from here.*CC0.*example\.org/tiny.*data/tiny, "),
    ],
)
def test_what_cannot_be_fetched_is_explained(home, offer, name, message):
    offer(None)
    with pytest.raises(UserError, match=message):
        download_corpus(name)
    assert not home.exists()


# --- what is published ---


def test_published_archives_are_complete():
    offered = {name: corpus for name, corpus in CORPORA.items() if corpus.archive}
    assert set(CORPORA) - set(offered) == {"demo", "savee"}
    checked = [name for name, corpus in offered.items() if corpus.checksum]
    assert checked == ["ravdess", "ravdess-song"]
    for name in checked:
        assert re.fullmatch("md5:[0-9a-f]{32}", CORPORA[name].checksum)
        assert CORPORA[name].archive.startswith("https://")
    # Packed when asked for: of one state of the repository, not of a branch, which moves on.
    assert re.search("[0-9a-f]{40}.zip[?]path=AudioWAV", CORPORA["cremad"].archive)
    assert re.search("[0-9a-f]{40}.zip", CORPORA["nemo"].archive)
