"""Kill commands at random moments, start them again, and compare; fill the disk, and more of that.

    python benchmarks/faults.py --kills 20
    python benchmarks/faults.py features download --kills 3 --seed 1
    python benchmarks/faults.py --cases

Each command runs once undisturbed. Then it is killed (-9) at a moment drawn from the time that this
took, with all its processes or alone, and the same command is started again. What it leaves must be
whole before the restart, and equal to the undisturbed result after it. Each kill is a line of
``outputs/faults/log.csv``; kills that are there already are not repeated.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import io
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import zipfile
from collections.abc import Callable
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import psutil

from helpers.runs import PROJECT_ROOT, outputs_home

SER = [sys.executable, "-m", "helpers.cli"]
#: What differs between two runs of the same: when, how long, where.
_CHANGING = {"seconds", "started", "finished", "minutes", "date_saved", "jobs"}
_CHANGING |= {"shared_object_id"}  # Keras writes an address in memory
_REUSED = re.compile(r"\d+ of \d+ parts were done before|\d+ from the cache|already complete")
LOG = ("command", "kill", "seed", "after_s", "of_s", "whom", "half", "litter", "again_s", "reused")
_SMALL = ["-p", "EPOCHS=1", "-p", "N_ROBUST=7", "-p", "N_SEEDS=1"]

# ---- What is killed ----

COMMANDS = {
    "run": [*SER, "run", "--corpora", "demo", *_SMALL],
    "cv": [*SER, "cv", "--corpora", "demo", "--model", "mfcc_lstm", "--epochs", "1", "--jobs", "1"],
    "features": [*SER, "features", "--corpora", "demo", "--family", "mfcc40,logmel"],
    "train": [sys.executable, __file__, "--train"],
    "download": [sys.executable, __file__, "--fetch"],
}


def train() -> None:
    """``pretrain.py`` with one epoch, on noise that is named like RAVDESS."""
    from dataclasses import replace

    import pretrain
    import soundfile

    home = Path(os.environ["SER_DATA"]) / "ravdess"
    for actor in range(1, 25):
        for emotion in range(1, 9):
            path = home / f"Actor_{actor:02d}" / f"03-01-{emotion:02d}-01-01-01-{actor:02d}.wav"
            if not path.exists():
                path.parent.mkdir(parents=True, exist_ok=True)
                rng = np.random.default_rng([actor, emotion])
                soundfile.write(path, rng.normal(0, 0.1, 16_000), 16_000)
    pretrain.SETTINGS = replace(pretrain.SETTINGS, epochs=1)
    pretrain.SHARE = {"ravdess": 1.0}
    sys.argv = ["pretrain.py", "--parts", "ravdess fold 1,for users", "--only-train"]
    pretrain.main()


def fetch() -> None:
    """``ser corpora get`` from a publisher on this machine, who sends a little at a time."""
    from helpers.cli import main
    from helpers.corpora import CORPORA, Corpus

    emotions = ("angry", "happy", "sad")
    members = {
        f"Actor_01/{emotion}_{n}.wav": np.random.default_rng([n, len(emotion)]).bytes(40_000)
        for emotion in emotions
        for n in range(40)
    }
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in members.items():
            archive.writestr(zipfile.ZipInfo(name), content)
    content = file.getvalue()

    class Reply(BaseHTTPRequestHandler):
        def log_message(self, *_):
            """Nothing."""

        def do_GET(self):  # noqa: N802, the server's name for it
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            for start in range(0, len(content), 2**16):
                self.wfile.write(content[start : start + 2**16])
                time.sleep(0.02)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Reply)
    threading.Thread(target=server.serve_forever, daemon=True).start()

    def parse(stem: str):
        return stem, {"corpus": "tiny", "emotion": stem.partition("_")[0]}

    CORPORA["tiny"] = Corpus(
        name="tiny",
        title="Tiny",
        licence="CC0",
        citation="nobody",
        url="here",
        layout="tiny/Actor_01/angry_0.wav",
        folder="tiny",
        counts=dict.fromkeys(emotions, 40),
        speakers=1,
        parse=parse,
        archive=f"http://127.0.0.1:{server.server_port}/tiny.zip",
        checksum=f"md5:{hashlib.md5(content).hexdigest()}",
    )
    sys.exit(main(["corpora", "get", "tiny"]))


# ---- Killing ----


def kill_often(name: str, kills: int, seed: int, home: Path) -> int:
    """Kill a command so often; return how many restarts did not end as the undisturbed run."""
    log = home / "log.csv"
    done = read_log(log)
    kept = home / f"{name}.json"
    if not kept.exists():
        clear(home / name)
        begin = time.monotonic()
        finish(start(name, home))
        took_s = time.monotonic() - begin
        write_json(kept, {"took_s": took_s, "results": digest(home / name)})
        print(f"{name}: undisturbed {took_s:.0f} s", flush=True)
    before = json.loads(kept.read_text())
    wrong = 0
    for kill in range(kills):
        row = next((r for r in done if (r["command"], r["kill"]) == (name, str(kill))), None)
        if row is None:
            row = kill_once(name, kill, seed, home, before)
            with open(log, "a", newline="") as file:
                writer = csv.DictWriter(file, [*LOG, "wrong"])
                if not file.tell():
                    writer.writeheader()
                writer.writerow(row)
            print(*row.values(), sep=" · ", flush=True)
        wrong += bool(row["wrong"] or row["half"])
    return wrong


def kill_once(name: str, kill: int, seed: int, home: Path, before: dict) -> dict:
    """Start, kill, look, start again, compare; a row of the log."""
    rng = np.random.default_rng([seed, *name.encode(), kill])
    after_s, process = before["took_s"], None
    while process is None or process.poll() is not None:  # again, if it had ended by then
        clear(home / name)
        after_s = float(rng.uniform(0, after_s))
        process = start(name, home)
        with suppress(subprocess.TimeoutExpired):
            process.wait(after_s)
    whom = "all" if kill % 2 else "it alone"
    with suppress(psutil.NoSuchProcess):
        family = psutil.Process(process.pid).children(recursive=True) if whom == "all" else []
        process.kill()
        for child in family:
            with suppress(psutil.NoSuchProcess):
                child.kill()
    process.wait()
    half, litter = find_half(home / name)
    begin = time.monotonic()
    try:
        printed, wrong = finish(start(name, home)), ""
    except RuntimeError as error:
        printed, wrong = "", str(error)
    again_s = time.monotonic() - begin
    if not wrong:
        found = digest(home / name)
        names = sorted(set(found) | set(before["results"]))
        differ = [n for n in names if found.get(n) != before["results"].get(n)]
        wrong = f"differ: {', '.join(differ[:5])}" if differ else ""
    reused = _REUSED.search(printed)
    values = [name, kill, seed, f"{after_s:.1f}", f"{before['took_s']:.1f}", whom, half, litter]
    values += [f"{again_s:.1f}", reused[0] if reused else ""]
    return dict(zip(LOG, values, strict=True)) | {"wrong": wrong}


def start(name: str, home: Path, **environment: str) -> subprocess.Popen:
    """Start a command whose outputs and recordings are in a folder of its own."""
    place = home / name
    place.mkdir(parents=True, exist_ok=True)
    # A file, not a pipe: processes that lost their parent would hold a pipe open.
    said = tempfile.TemporaryFile("w+", encoding="utf-8")
    one = dict.fromkeys(
        ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "OMP_NUM_THREADS"), "1"
    )
    own = {"SER_OUTPUTS": str(place / "outputs"), "SER_DATA": str(place / "data"), **one}
    process = subprocess.Popen(
        COMMANDS[name],
        env=os.environ | own | environment,
        cwd=PROJECT_ROOT,
        stdout=said,
        stderr=subprocess.STDOUT,
    )
    process.said = said
    return process


def finish(process: subprocess.Popen) -> str:
    """Wait for a command and return what it printed; RuntimeError if it failed."""
    process.wait()
    process.said.seek(0)
    printed = process.said.read()
    if process.returncode:
        raise RuntimeError(f"exit {process.returncode}: {printed[-500:]}")
    return printed


def clear(folder: Path) -> None:
    """Remove a folder; a process that lost its parent may still write there for a moment."""
    for _ in range(50):
        shutil.rmtree(folder, ignore_errors=True)
        if not folder.exists():
            return
        time.sleep(0.2)
    raise RuntimeError(f"{folder} cannot be removed")


def list_results(folder: Path) -> list[Path]:
    """What a command left that is meant to stay: no hidden file, no lock."""
    found = [path for path in folder.rglob("*") if path.is_file()]
    return sorted(path for path in found if not path.name.startswith("."))


def find_half(folder: Path) -> tuple[str, int]:
    """Names of files that are not whole, and how many hidden leftovers lie about."""
    half = []
    for path in list_results(folder):
        try:
            check_whole(path)
        except Exception as error:  # whatever a half file raises
            half.append(f"{path.name} ({type(error).__name__})")
    hidden = [path for path in folder.rglob(".*") if path.is_file()]
    return ", ".join(half[:5]), len(hidden)


def check_whole(path: Path) -> None:
    """Raise if a file is not what its suffix says."""
    import soundfile

    if path.suffix in (".json", ".ipynb"):
        json.loads(path.read_text(encoding="utf-8"))
    elif path.suffix == ".csv":
        with open(path, encoding="utf-8", newline="") as file:
            widths = {len(row) for row in csv.reader(file)}
        assert len(widths) == 1 and path.read_bytes().endswith(b"\n")
    elif path.suffix == ".npy":
        np.load(path)
    elif path.suffix == ".keras":
        assert zipfile.ZipFile(path).testzip() is None
    elif path.suffix == ".html":
        assert path.read_text(encoding="utf-8").rstrip().endswith("</html>")
    elif path.suffix == ".wav" and "tiny" not in str(path):  # those of fetch() hold no sound
        assert len(soundfile.read(path)[0])


def digest(folder: Path) -> dict[str, str]:
    """Hash of each result, without what says when it was made and how long it took."""
    found = {}
    for path in list_results(folder):
        name = str(path.relative_to(folder))
        if path.suffix == ".json":
            content = dump_lasting(path.read_bytes())
        elif path.suffix == ".keras":
            with zipfile.ZipFile(path) as archive:
                parts = {item: archive.read(item) for item in archive.namelist()}
            parts = {n: dump_lasting(c) if n.endswith(".json") else c for n, c in parts.items()}
            content = b"".join(n.encode() + c for n, c in sorted(parts.items()))
        elif path.suffix in (".ipynb", ".html", ".png"):
            content = b"there"  # they hold times, and pictures their maker's version
        else:
            content = path.read_bytes()
        found[name] = hashlib.sha256(content).hexdigest()[:16]
    return found


def dump_lasting(content: bytes) -> bytes:
    """JSON without times."""

    def keep(tree: object) -> object:
        if isinstance(tree, dict):
            return {name: keep(item) for name, item in tree.items() if name not in _CHANGING}
        return [keep(item) for item in tree] if isinstance(tree, list) else tree

    return json.dumps(keep(json.loads(content)), sort_keys=True).encode()


def write_json(path: Path, content: object) -> None:
    path.write_text(json.dumps(content), encoding="utf-8")


def read_log(path: Path) -> list[dict]:
    if not path.exists():
        return []
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


# ---- Cases: each returns what was wrong, nothing if all was well ----


@contextmanager
def mounted(folder: Path, options: str):
    """A small disk of its own at ``folder``; needs root."""
    folder.mkdir(parents=True, exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def say_in_words(*command: str, **environment: str) -> str:
    """Run a command that must fail: exit code 2 or 1, a line of words, no traceback."""
    environment = os.environ | environment
    done = subprocess.run(
        [*SER, *command], env=environment, cwd=PROJECT_ROOT, capture_output=True, text=True
    )
    print("   ", (done.stderr.strip() or done.stdout.strip()).splitlines()[-1][:200], flush=True)
    if "Traceback" in done.stderr + done.stdout:
        return f"a traceback: {done.stderr[-800:]}"
    return "" if done.returncode in (1, 2) else f"exit {done.returncode}"


def full_disk(home: Path) -> str:
    """The disk fills up in the middle of ser features; then there is room, and it goes on."""
    own = str(_make_own(home / "own"))
    with mounted(home / "full", "size=200k"):
        outputs = {"SER_OUTPUTS": str(home / "full")}
        wrong = say_in_words("features", "--corpora", own, "--family", "logmel", **outputs)
        half, _ = find_half(home / "full")
        if wrong or half:
            return wrong or f"half written: {half}"
        subprocess.run(["mount", "-o", "remount,size=200m", str(home / "full")], check=True)
        command = [*SER, "features", "--corpora", own, "--family", "logmel"]
        done = subprocess.run(
            command, env=os.environ | outputs, cwd=PROJECT_ROOT, capture_output=True, text=True
        )
        reused = _REUSED.search(done.stdout)
        print("   ", "then", reused and reused[0], flush=True)
        return "" if done.returncode == 0 else f"exit {done.returncode}: {done.stderr[-800:]}"


def read_only(home: Path) -> str:
    """Outputs that cannot be written."""
    with mounted(home / "locked", "ro"):
        outputs = {"SER_OUTPUTS": str(home / "locked")}
        commands = [["features", "--corpora", "demo"], ["run", "--corpora", "demo"]]
        return "; ".join(filter(None, (say_in_words(*command, **outputs) for command in commands)))


def _make_own(folder: Path) -> Path:
    """A folder of recordings: three speakers, two emotions."""
    import soundfile

    for speaker in "abc":
        for emotion in ("happy", "sad"):
            for n in range(4):
                path = folder / speaker / emotion / f"{n}.wav"
                path.parent.mkdir(parents=True, exist_ok=True)
                rng = np.random.default_rng([ord(speaker), n, len(emotion)])
                soundfile.write(path, rng.normal(0, 0.1, 12_000), 16_000)
    return folder


def corpus_changes(home: Path) -> str:
    """A recording is replaced and one is deleted between notebooks 01 and 02."""
    import soundfile

    own, outputs = _make_own(home / "own"), {"SER_OUTPUTS": str(home / "changing")}
    run = ["run", "--corpora", str(own), "--run", "own"]
    done = subprocess.run([*SER, *run, "--only", "01"], env=os.environ | outputs, cwd=PROJECT_ROOT)
    if done.returncode:
        return "01 failed"
    soundfile.write(own / "a" / "sad" / "0.wav", np.ones(12_000) / np.arange(1, 12_001), 16_000)
    wrong = say_in_words("run", "--run", "own", "--only", "02", **outputs)
    (own / "a" / "sad" / "0.wav").unlink()
    return wrong or say_in_words("run", "--run", "own", "--only", "02", **outputs)


def two_at_once(home: Path) -> str:
    """Two calls of one name at once: both end, the results are those of one."""
    wrong = []
    for name in ("features", "cv", "download"):
        clear(home / name)
        pair = [start(name, home), start(name, home)]
        for process in pair:
            try:
                finish(process)
            except RuntimeError as error:
                wrong.append(f"{name}: {error}")
        kept = home / f"{name}.json"
        found = digest(home / name)
        if kept.exists() and json.loads(kept.read_text())["results"] != found:
            wrong.append(f"{name}: other results than alone")
    return "; ".join(wrong)


def two_runs(home: Path) -> str:
    """Two ser run of one name at once: the second waits or is refused in words."""
    clear(home / "run")
    first = start("run", home)
    time.sleep(15)
    second = start("run", home)
    codes = []
    for process in (second, first):
        process.wait()
        process.said.seek(0)
        printed = process.said.read()
        codes.append(process.returncode)
        print("   ", process.returncode, printed.strip().splitlines()[-1][:160], flush=True)
        if "Traceback" in printed:
            return printed[-800:]
    half, _ = find_half(home / "run")
    kept = home / "run.json"
    differs = kept.exists() and json.loads(kept.read_text())["results"] != digest(home / "run")
    if half or differs:
        return f"half written: {half}" if half else "other results than alone"
    return "" if codes[1] == 0 and codes[0] in (0, 2) else f"exit codes {codes}"


def clock_set_back(home: Path) -> str:
    """What was made an hour ago seems to come from tomorrow."""
    clear(home / "features")
    finish(start("features", home))
    tomorrow = time.time() + 86_400
    for path in (home / "features").rglob("*"):
        os.utime(path, (tomorrow, tomorrow), follow_symlinks=False)
    found = digest(home / "features")
    finish(start("features", home))
    return "" if digest(home / "features") == found else "other results than before"


def being_written(home: Path) -> str:
    """A recording that grows while it is listed, decoded and computed."""
    import soundfile

    own = _make_own(home / "growing")
    stop = threading.Event()

    def grow() -> None:
        with soundfile.SoundFile(own / "a" / "sad" / "9.wav", "w", 16_000, 1) as file:
            while not stop.is_set():
                file.write(np.random.default_rng(0).normal(0, 0.1, 1600))
                file.flush()
                time.sleep(0.02)

    thread = threading.Thread(target=grow)
    thread.start()
    try:
        command = [*SER, "features", "--corpora", str(own), "--family", "mfcc40"]
        done = subprocess.run(
            command,
            env=os.environ | {"SER_OUTPUTS": str(home / "growing-out")},
            cwd=PROJECT_ROOT,
            capture_output=True,
            text=True,
        )
    finally:
        stop.set()
        thread.join()
    print("   ", done.returncode, done.stderr.strip().splitlines()[-1:], flush=True)
    return done.stderr[-800:] if "Traceback" in done.stderr else ""


CASES: dict[str, Callable[[Path], str]] = {
    "full disk": full_disk,
    "read-only": read_only,
    "corpus changes": corpus_changes,
    "two at once": two_at_once,
    "two runs": two_runs,
    "clock set back": clock_set_back,
    "being written": being_written,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("commands", nargs="*", metavar=" | ".join(COMMANDS))
    parser.add_argument("--kills", type=int, default=3, help="per command")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--cases", nargs="*", metavar="NAME", help=f"any of {', '.join(CASES)}")
    parser.add_argument("--out", type=Path, default=outputs_home() / "faults")
    parser.add_argument("--train", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--fetch", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.train or given.fetch:
        (train if given.train else fetch)()
        return
    home = given.out.resolve()
    home.mkdir(parents=True, exist_ok=True)
    failed = 0
    if given.cases is None:
        for name in given.commands or COMMANDS:
            wrong = kill_often(name, given.kills, given.seed, home)
            print(
                f"{name}: {given.kills} kills, {given.kills - wrong} right resumptions", flush=True
            )
            failed += wrong
    else:
        for name in given.cases or CASES:
            print(name, flush=True)
            wrong = CASES[name](home)
            print(f"{name}: {wrong or 'well'}", flush=True)
            failed += bool(wrong)
    sys.exit(bool(failed))


if __name__ == "__main__":
    main()
