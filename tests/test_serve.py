"""``ser serve``: other programs ask a real server."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import requests
import soundfile
from test_web import wait_for
from tiny import CLASSES, SETTINGS, build_tiny_model, voice, write_voice

from helpers.app import serve as module
from helpers.models.modelfile import make_card, save_model
from helpers.sound.audio import SAMPLE_RATE


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    card = make_card(name="tiny", classes=CLASSES, settings=SETTINGS)
    return save_model(build_tiny_model(), tmp_path_factory.mktemp("served") / "m.keras", card)


@pytest.fixture(scope="module")
def service(model: Path) -> Iterator[str]:
    """Address of a running service."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    words = ["serve", "--port", str(port), "--workers", "1", "--model", str(model)]
    log = model.with_name("serve.log")
    with open(log, "wb") as stream:
        command = [sys.executable, "-m", "helpers.cli", *words]
        server = subprocess.Popen(command, stdout=stream, stderr=stream)
    try:
        wait_for(f"http://127.0.0.1:{port}/health", server, log)
        yield f"http://127.0.0.1:{port}"
    finally:
        server.terminate()
        server.wait(30)


def post(service: str, content: bytes, name: str = "clip.wav") -> requests.Response:
    return requests.post(f"{service}/predict", files={"file": (name, content)}, timeout=60)


def test_it_says_what_ser_predict_says(service: str, model: Path, tmp_path: Path):
    write_voice(tmp_path / "clip.wav", 800, duration_s=5.0)
    command = [sys.executable, "-m", "helpers.cli", "predict", "--json", "--model", str(model)]
    said = subprocess.run([*command, "clip.wav"], cwd=tmp_path, capture_output=True, check=True)
    content = (tmp_path / "clip.wav").read_bytes()
    with ThreadPoolExecutor(4) as pool:  # several at once, one answer
        replies = list(pool.map(lambda _: post(service, content), range(8)))
    assert [reply.status_code for reply in replies] == [200] * 8
    for reply in replies:
        assert reply.json() == pytest.approx(json.loads(said.stdout), abs=1e-6)


def test_what_is_no_recording_or_too_much_is_refused(service: str, tmp_path: Path):
    reply = post(service, b"Dear diary", "notes <b>.txt")
    assert reply.status_code == 422 and "notes <b>.txt: found text" in reply.json()["error"]
    soundfile.write(tmp_path / "long.flac", voice(duration_s=60).repeat(11), SAMPLE_RATE)
    reply = post(service, (tmp_path / "long.flac").read_bytes())
    assert reply.status_code == 422 and "more than 10 minutes" in reply.json()["error"]
    reply = post(service, bytes(module.LARGEST_MB * 2**20 + 1))
    assert reply.status_code == 413 and "at most 50 MB" in reply.json()["detail"]
    endless = requests.post(f"{service}/predict", data=iter([b"x"]), timeout=60)
    assert endless.status_code == 413
    assert requests.get(f"{service}/health", timeout=60).json() == {"status": "ok", "model": "tiny"}


def test_it_describes_itself(service: str):
    assert "swagger" in requests.get(f"{service}/docs", timeout=60).text.lower()
    described = requests.get(f"{service}/openapi.json", timeout=60).json()
    assert set(described["paths"]) == {"/health", "/predict"}
