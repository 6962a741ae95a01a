"""A corpus arrives whole or not at all, whatever the network, the archive and the disk do.

A real server on this machine plays the publisher; nothing here asks the internet.
"""

from __future__ import annotations

import hashlib
import importlib
import inspect
import io
import json
import re
import socket
import subprocess
import sys
import tarfile
import threading
import time
import zipfile
from collections import namedtuple
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace

import pytest
from conftest import ROOT, skip_or_fail

from helpers.corpora import CORPORA, Remote, download
from helpers.corpora.corpus import Corpus, Dataverse
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


def tarred(members: dict[str, bytes], *, link: bytes | None = None) -> bytes:
    """A tar of ``members``, and of a link of this kind to a file of the system."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:gz") as archive:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
        if link:
            info = tarfile.TarInfo("link.wav")
            info.type, info.linkname = link, "/etc/passwd"
            archive.addfile(info)
    return file.getvalue()


MEMBERS = {f"Actor_01/{stem}.wav": sound(stem) for stem in CLIPS}
GOOD = zipped(MEMBERS)
#: What git leaves in place of a large file.
POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 9\n"


class Publisher(ThreadingHTTPServer):
    """Serves ``files`` by address; ``acts`` says how: a list of what goes wrong, one per request.

    An act is a status, ``truncate`` (half of the file), ``corrupt``, or ``wait`` (for ``go_on``).
    """

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Reply)
        self.files, self.acts, self.paths = {"/tiny.zip": GOOD}, {}, []
        self.go_on = threading.Event()

    def handle_error(self, *_):
        """A client that hangs up is part of the play."""

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def remote(self, path: str = "/tiny.zip", **changes) -> Remote:
        content = self.files[path]
        checksum = f"md5:{hashlib.md5(content).hexdigest()}"
        return replace(Remote(f"{self.address}{path}", checksum, len(content)), **changes)

    def list_files(self, members: dict[str, bytes], **wrong: object) -> Dataverse:
        """Offer ``members`` one by one, as Dataverse does; ``wrong`` is in each entry."""
        dataset, entries = Dataverse(self.address, "doi:10.5072/A/B"), []
        for number, (name, content) in enumerate(members.items()):
            folder, _, label = name.rpartition("/")
            digest = hashlib.md5(content).hexdigest()
            file = {"id": number, "filesize": len(content), "md5": digest, **wrong}
            entries.append({"label": label, "directoryLabel": folder, "dataFile": file})
            self.files[f"/api/access/datafile/{number}"] = content
        answer = {"status": "OK", "data": {"latestVersion": {"files": entries}}}
        self.files[dataset.listing.removeprefix(self.address)] = json.dumps(answer).encode()
        return dataset


class Reply(BaseHTTPRequestHandler):
    server: Publisher

    def log_message(self, *_):
        """Not into the tests' output."""

    def do_GET(self):  # noqa: N802, the server's name for it
        self.server.paths.append(self.path)
        acts = self.server.acts.get(self.path)
        act = acts.pop(0) if acts else "well"
        if isinstance(act, int):
            self.send_error(act)
            return
        if act == "wait":
            self.server.go_on.wait(20)
        body = self.server.files[self.path]
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if act == "corrupt":
            body = body[:100] + bytes(100) + body[200:]
        self.wfile.write(body[: len(body) // 2] if act == "truncate" else body)


@pytest.fixture
def site():
    with Publisher() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.go_on.set()
        server.shutdown()
        thread.join()


@pytest.fixture
def home(tmp_path, monkeypatch):
    """An empty data folder, one level down so that an escape would be seen; no long waits."""
    if find_spec("pooch") is None:
        skip_or_fail("no pooch: pip install -e '.[download]'")
    monkeypatch.setenv("SER_DATA", str(tmp_path / "data"))
    monkeypatch.setattr("pooch.core.time", SimpleNamespace(sleep=lambda seconds: None))
    return tmp_path / "data"


@pytest.fixture
def offer(monkeypatch):
    """``offer(remote, …)`` makes a corpus called tiny of these remotes known."""

    def add(*remotes: Remote, **changes):
        monkeypatch.setitem(CORPORA, "tiny", replace(TINY, remotes=remotes, **changes))

    return add


@pytest.fixture(params=["archive", "files"])
def offered(request, site, offer) -> str:
    """The corpus is offered in both ways in turn; the address of something that it needs."""
    if request.param == "archive":
        offer(site.remote())
        return "/tiny.zip"
    offer(dataverse=site.list_files(MEMBERS))
    return "/api/access/datafile/11"


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


def test_corpus_is_fetched_once(home, site, offered, capsys):
    assert download_corpus("tiny") == home / "tiny"
    assert_whole(home)
    said = capsys.readouterr()
    assert said.out == "" and "licence CC0" in said.err and "100%" in said.err
    assert len(site.paths) == len(set(site.paths)) == (1 if offered == "/tiny.zip" else 13)
    asked = len(site.paths)
    home.chmod(0o555)
    download_corpus("tiny")
    home.chmod(0o755)
    assert len(site.paths) == asked
    assert capsys.readouterr().err == "tiny: already complete, nothing to fetch\n"
    download_corpus("tiny", force=True)
    assert len(site.paths) == 2 * asked
    assert_whole(home)


def test_several_archives_are_all_needed_and_each_has_its_folder(home, site, offer):
    site.files["/tiny.tar.gz"] = tarred(MEMBERS)
    offer(site.remote(folder="one"), site.remote("/tiny.tar.gz", folder="two/more", size=0))
    download_corpus("tiny")
    assert tree(home) == sorted(f"tiny/{part}/{m}" for part in ("one", "two/more") for m in MEMBERS)


def test_what_is_there_stays(home, offered):
    mine = ("mine.wav", "Actor_01/notes.txt", "song/b.wav")
    for name in (*mine, "Actor_01/angry_0.wav"):
        (home / "Tiny" / name).parent.mkdir(parents=True, exist_ok=True)
        (home / "Tiny" / name).write_text("mine")
    assert download_corpus("tiny") == home / "Tiny"  # under the name that it has
    assert [(home / "Tiny" / name).read_text() for name in mine] == ["mine"] * 3
    assert (home / "Tiny/Actor_01/angry_0.wav").read_bytes() == sound("angry_0")
    assert len(tree(home)) == len(CLIPS) + 3


@pytest.mark.parametrize("as_files", [False, True])
def test_only_recordings_and_small_texts_are_kept(home, site, offer, monkeypatch, as_files):
    monkeypatch.setattr(download, "_LARGEST_TEXT", 1000)
    kept = ("README", "LICENSE.txt", "votes.csv", "sub/a.FLAC")
    junk = ("setup.exe", "a.pkl", "__MACOSX/Actor_01/._a.wav", "._a.wav", ".DS_Store")
    members = {**MEMBERS, **dict.fromkeys((*kept, *junk), b"x"), "big.txt": bytes(1001)}
    site.files["/tiny.zip"] = zipped(members)
    offer(site.remote(), dataverse=site.list_files(members) if as_files else None)
    download_corpus("tiny", force=True)
    assert tree(home) == sorted(f"tiny/{name}" for name in (*MEMBERS, *kept))


# --- the network ---


@pytest.mark.parametrize(
    ("act", "message"),
    [
        ("corrupt", "expected md5:.* but got .* replaced the file"),
        ("truncate", "cannot be fetched: .*run the same again: files that came are kept"),
        (404, "cannot be fetched: 404 .*https://example.org/tiny"),
        (503, "cannot be fetched: 503 .*Check the connection"),
    ],
)
def test_trouble_that_stays_is_said_and_what_came_is_kept(home, site, offered, act, message):
    site.acts[offered] = [act] * (2 + download._RETRIES)
    with pytest.raises(UserError, match=message) as caught:
        download_corpus("tiny")
    assert offered in str(caught.value)
    assert not (home / "tiny").exists()
    missing = 12 - len(list(home.rglob("*.wav")))
    asked = len(site.paths)
    download_corpus("tiny")  # which meets the trouble once more
    assert_whole(home)
    assert len(site.paths) - asked == (2 if offered == "/tiny.zip" else 1 + missing + 1)


@pytest.mark.parametrize("address", ["http://127.0.0.1:{port}", "htp:/no.address"])
@pytest.mark.parametrize("as_files", [False, True])
def test_no_connection(home, offer, address, as_files):
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        address = address.format(port=closed.getsockname()[1])
    remote = Remote(f"{address}/tiny.zip", "md5:" + "0" * 32, 1)
    offer(remote, dataverse=Dataverse(address, "doi:10.5072/A/B") if as_files else None)
    with pytest.raises(UserError, match="Check the connection"):
        download_corpus("tiny")
    assert not (home / "tiny").exists()


def test_login_page_in_place_of_an_archive_without_a_checksum_is_not_kept(home, site, offer):
    offer(site.remote(checksum="", size=0))
    site.files["/tiny.zip"] = b"<html>please log in</html>"
    with pytest.raises(UserError, match="no zip or tar archive"):
        download_corpus("tiny")
    site.files["/tiny.zip"] = GOOD
    download_corpus("tiny")
    assert_whole(home)


@pytest.mark.parametrize(
    "answer", [b"<!DOCTYPE html>", b"", b"\xff\xfe", b"[]", b'{"data": {"latestVersion": {}}}']
)
def test_answer_that_is_no_list(home, site, offer, answer):
    dataset = site.list_files(MEMBERS)
    site.files[dataset.listing.removeprefix(site.address)] = answer
    offer(dataverse=dataset)
    with pytest.raises(UserError, match="expected Dataverse's list of files as JSON") as caught:
        download_corpus("tiny")
    assert "https://doi.org/10.5072/A/B" in str(caught.value)
    assert len(site.paths) == 1


@pytest.mark.parametrize("wrong", [{"id": "../../x"}, {"filesize": None}, {"md5": None}])
def test_entry_without_what_is_needed(home, site, offer, wrong):
    offer(dataverse=site.list_files(MEMBERS, **wrong))
    with pytest.raises(UserError, match="list of files as JSON|expected md5:None but got"):
        download_corpus("tiny")
    assert not (home / "tiny").exists()


# --- the disk ---


def test_full_disk_is_said_before_work(home, site, offered, monkeypatch):
    usage = namedtuple("Usage", "total used free")(10**9, 10**9, 10_000)
    monkeypatch.setattr("shutil.disk_usage", lambda path: usage)
    with pytest.raises(UserError, match=r"needed 0\.\d MB, free 0\.0 MB.*SER_DATA"):
        download_corpus("tiny")
    assert offered not in site.paths
    assert not (home / "tiny").exists()


# --- hostile archives ---

ESCAPES = ["../e.wav", "a/../../e.wav", "/deep/e.wav", "C:/e.wav", "..\\e.wav", "e\x1b[2J.wav"]
HOSTILE = {
    "bomb": (zipped({"bad.wav": bytes(100_000_000)}), "unpacks to 100,000,000 bytes"),
    "tar bomb": (tarred({"a.wav": bytes(70_000_000)}), "unpacks to"),
    "pointer": (zipped({"angry_1.wav": POINTER}), "git-lfs pointer.*--source kaggle"),
    "tar pointer": (tarred({"angry_1.wav": POINTER}), "git-lfs pointer"),
    "damaged": (GOOD[:4000] + bytes(200) + GOOD[4200:], "damaged"),
    "tar cut off": (tarred(MEMBERS)[:-3000], "damaged"),
    "no archive": (b"just text" * 99, "no zip or tar archive"),
    "empty": (zipped({}), "fetched, but .*not found"),
    "something else": (zipped({"holiday.wav": b"x"}), "fetched, but .*named by its rule"),
    "file and folder": (zipped({"a.wav": b"x", "a.wav/b.wav": b"y"}), "cannot be put"),
    **{f"zip {name!a}": (zipped({name: b"x"}), "lead out of the folder") for name in ESCAPES},
    **{f"tar {name!a}": (tarred({name: b"x"}), "lead out of the folder") for name in ESCAPES},
}


@pytest.mark.parametrize("case", HOSTILE)
def test_nothing_escapes_and_nothing_is_half_there(home, site, offer, case):
    site.files["/tiny.zip"], message = HOSTILE[case]
    offer(site.remote())
    with pytest.raises(UserError, match=message) as caught:
        download_corpus("tiny")
    str(caught.value).encode()  # can be shown
    assert [path.name for path in home.parent.iterdir()] == ["data"]
    assert not list(home.rglob("e.wav"))
    if case != "something else":
        assert not list((home / "tiny").rglob("*.wav"))


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE])
def test_links_and_devices_are_left_out(home, site, offer, kind):
    site.files["/tiny.zip"] = tarred(MEMBERS, link=kind)
    offer(site.remote())
    download_corpus("tiny")
    assert_whole(home)


@pytest.mark.parametrize("name", ESCAPES)
def test_list_is_trusted_no_more_than_an_archive(home, site, offer, name):
    offer(dataverse=site.list_files({**MEMBERS, name: b"x"}))
    with pytest.raises(UserError, match="lead out of the folder"):
        download_corpus("tiny")
    assert len(site.paths) == 1


# --- killed, and two at a time ---

CHILD = """
import sys
from dataclasses import replace
sys.path.insert(0, sys.argv[1])
from test_download import TINY, Dataverse
from helpers.corpora import CORPORA
from helpers.corpora.download import download_corpus

CORPORA["tiny"] = replace(TINY, dataverse=Dataverse(sys.argv[2], sys.argv[3]))
download_corpus("tiny")
"""


@pytest.fixture
def child(home, site, offer):
    """Another process that fetches the corpus, file by file, and waits for the last one."""
    dataset = site.list_files(MEMBERS)
    offer(dataverse=dataset)
    site.acts["/api/access/datafile/11"] = ["wait"]
    values = (str(ROOT / "tests"), dataset.site, dataset.doi)
    with subprocess.Popen([sys.executable, "-B", "-c", CHILD, *values], cwd=ROOT) as process:
        until = time.monotonic() + 30
        while len(list(home.rglob("*.wav"))) < 11 or len(site.paths) < 13:
            assert time.monotonic() < until, "waited in vain"
            time.sleep(0.02)
        yield process


def test_killed_download_is_carried_on(home, site, child):
    child.kill()
    child.wait()
    assert not (home / "tiny").exists()
    download_corpus("tiny")
    assert_whole(home)
    assert site.paths[13:] == [site.paths[0], "/api/access/datafile/11"]


def test_second_call_waits_and_finds_it_complete(home, site, child, capsys, caplog):
    second = threading.Thread(target=download_corpus, args=("tiny",))
    second.start()
    second.join(0.3)
    assert second.is_alive() and "another process works on" in caplog.text
    site.go_on.set()
    second.join(30)
    assert child.wait() == 0
    assert "another process has fetched it" in capsys.readouterr().err
    assert len(site.paths) == 13
    assert_whole(home)


# --- nothing to fetch, and Kaggle ---


@pytest.mark.parametrize(
    ("name", "source", "message"),
    [
        ("tny", "publisher", "unknown corpus 'tny': known are demo, "),
        ("tiny", "kaggle", "no copy of 'tiny' on Kaggle"),
        ("tiny", "publisher", r"cannot be fetched from here.*CC0.*example\.org/tiny.*data/tiny, "),
    ],
)
def test_what_cannot_be_fetched_is_explained(home, offer, name, source, message):
    offer()
    with pytest.raises(UserError, match=message):
        download_corpus(name, source=source)
    assert not home.exists()


def test_missing_package_is_explained(home, site, offered, monkeypatch):
    monkeypatch.setitem(sys.modules, "pooch", None)
    with pytest.raises(UserError, match=r"pip install -e '\.\[download\]'"):
        download_corpus("tiny")


@pytest.fixture
def kaggle(monkeypatch, tmp_path, offer):
    """A stand-in for kagglehub, whose copy has each clip twice, and other files."""
    for name, content in MEMBERS.items():
        for path in (tmp_path / "cache" / name, tmp_path / "cache/again" / name):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
    (tmp_path / "cache/other.wav").touch()
    calls = []

    def fetch(handle, *, force_download):
        calls.append((handle, force_download))
        return str(tmp_path / "cache")

    monkeypatch.setitem(sys.modules, "kagglehub", SimpleNamespace(dataset_download=fetch))
    offer(kaggle="someone/tiny")
    return calls


def test_copy_from_kaggle(home, kaggle, capsys):
    assert download_corpus("tiny", source="kaggle") == home / "tiny"
    assert tree(home) == sorted(f"tiny/{name}" for name in MEMBERS)
    assert len(tree(home.parent / "cache")) == 25  # Kaggle's own stays
    assert "cache; it is not needed any more" in capsys.readouterr().err
    download_corpus("tiny", source="kaggle")
    assert kaggle == [("someone/tiny", False)]


def test_kaggle_refuses(home, kaggle, monkeypatch):
    monkeypatch.setattr(sys.modules["kagglehub"], "dataset_download", lambda: None)
    with pytest.raises(UserError, match="someone/tiny .* Or get the recordings by hand: https:"):
        download_corpus("tiny", source="kaggle")


def test_real_kagglehub_is_called_as_it_wants():
    if find_spec("kagglehub") is None:
        skip_or_fail("no kagglehub: pip install -e '.[download]'")
    kagglehub = importlib.import_module("kagglehub")
    parameters = inspect.signature(kagglehub.dataset_download).parameters
    assert {"handle", "force_download"} <= set(parameters)


# --- what is published ---


def test_published_remotes_are_complete():
    remotes = [remote for corpus in CORPORA.values() for remote in corpus.remotes]
    assert len({remote.url for remote in remotes}) == len(remotes)
    for remote in remotes:
        if remote.checksum:
            assert re.fullmatch("md5:[0-9a-f]{32}|sha256:[0-9a-f]{64}", remote.checksum)
            assert remote.url.startswith("https://") and remote.size > 0
    unchecked = [remote for remote in remotes if not remote.checksum]
    names = ("cremad", "emodb", "nemo")
    assert unchecked == [remote for name in names for remote in CORPORA[name].remotes]
    # Packed when asked for: of one state of the repository, not of a branch, which moves on.
    assert re.search("[0-9a-f]{40}.zip[?]path=AudioWAV", CORPORA["cremad"].remotes[0].url)
    assert re.search("[0-9a-f]{40}.zip", CORPORA["nemo"].remotes[0].url)
    not_offered = [name for name, c in CORPORA.items() if not (c.is_offered or c.generated)]
    assert not_offered == ["savee", "four-in-one"]
    assert CORPORA["tess"].dataverse.doi in CORPORA["tess"].citation
    assert CORPORA["tess"].dataverse.page == CORPORA["tess"].url
