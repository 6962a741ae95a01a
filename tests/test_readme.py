"""What a reader meets first: commands that work, links that lead somewhere, described pictures."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
import yaml
from conftest import ROOT
from tiny import write_tone

from helpers import __version__
from helpers.cli import build_parser
from helpers.runs import NOTEBOOKS

README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```$", README, re.M | re.S)
LINES = [line for language, block in BLOCKS if not language for line in block.splitlines()]
NAMED = re.findall(r"`((?:\.venv/bin/)?ser [^`]+)`", README)
COMMANDS = sorted(
    {line[line.index("ser ") :] for line in [*LINES, *NAMED] if re.search(r"\bser \w", line)}
)
# A table lists several at once, or leaves something to fill in.
WHOLE = [one for one in COMMANDS if not re.search(r"…|\\\||NAME|FOLDER|LONG|RUN RUN|FILE", one)]


def prose_of(path: Path) -> str:
    if path.suffix == ".md":
        return path.read_text(encoding="utf-8")
    cells = nbformat.read(path, as_version=4).cells
    return "\n".join(cell.source for cell in cells if cell.cell_type == "markdown")


@pytest.mark.parametrize("command", WHOLE)
def test_a_command_is_understood(command):
    given = shlex.split(command)[1:]
    if given[0] == "corpora" and given[1:2] not in (["validate"], ["get"]):
        given = ["corpora", "list", *given[1:]]
    assert build_parser().parse_args(given).call


def test_targets_of_make_are_there():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z]+):", makefile, re.M))
    assert set(re.findall(r"`make ([a-z]+)", README)) <= targets


def test_the_first_answer(tmp_path):
    """`ser predict my_recording.wav`, and the model in a script of one's own."""
    shutil.copytree(ROOT / "outputs/pretrained", tmp_path / "outputs/pretrained")
    write_tone(tmp_path / "my_recording.wav", 220)
    (script,) = [block for _, block in BLOCKS if block.startswith("# my_script.py")]
    assert 8 <= len(script.splitlines()) <= 12
    for command in (["-m", "helpers.cli", "predict", "my_recording.wav"], ["-c", script]):
        done = subprocess.run(
            [sys.executable, *command],
            cwd=tmp_path,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        assert re.search(r"\b0\.\d+", done.stdout)


@pytest.mark.parametrize(
    "path",
    [ROOT / "README.md", ROOT / "data/README.md", ROOT / "benchmarks/README.md"]
    + [ROOT / "notebooks" / f"{step}.ipynb" for step in NOTEBOOKS],
    ids=lambda path: f"{path.parent.name}-{path.name}",
)
def test_links_lead_somewhere(path):
    for place in re.findall(r"\]\(([^)\s]+)\)", prose_of(path)):
        if place.startswith("https://"):
            continue
        name, _, anchor = place.partition("#")
        there = path.parent / name if name else path
        assert there.exists(), place
        if anchor:
            headings = re.findall(r"^#+ (.+)", prose_of(there), re.M)
            known = {re.sub(r"[^\w -]", "", one).lower().replace(" ", "-") for one in headings}
            assert anchor in known, place


def test_pictures_are_described():
    pictures = re.findall(r"!\[([^\]]*)\]\(([^)]+)\)", README)
    assert {path for _, path in pictures} == {"pictures/leak.png", "pictures/panel.png"}
    assert all(len(text) > 40 for text, _ in pictures)


def test_how_to_cite():
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert {"cff-version", "message", "title", "authors", "version"} <= set(cited)
    assert cited["version"] == __version__
