"""The house: imports and calls point left, importing does nothing, modules stay small."""

from __future__ import annotations

import ast
import graphlib
import json
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from pathlib import Path

import pytest
from conftest import ROOT
from tiny import CLASSES, SETTINGS, build_tiny_model, write_tone

from helpers.cli import main
from helpers.experiments import crossval
from helpers.models.modelfile import make_card, save_model
from helpers.parallel import KEEP_MEMORY

HELPERS = ROOT / "helpers"
#: The rooms, as the data flows: a room imports only from those before it, and from what is beside.
ROOMS = ("corpora", "sound", "features", "models", "evaluation", "experiments", "report", "app")
BESIDE = ("columns", "errors", "parallel", "parts", "runs", "splits")
#: Nothing imports these.
ON_TOP = ("pipeline", "commands", "doctor", "cli")
HEAVY = {"tensorflow", "keras", "sounddevice", "ipywidgets", "matplotlib.pyplot", "seaborn"}
#: What a notebook's first cell may take with it; everything else is imported where it is used.
ALLOWED = {"app": {"ipywidgets"}}
MAX_LINES = 350
FILES = sorted(HELPERS.rglob("*.py"))
#: What each room knows.
KNOWN = {
    "__init__": set(),
    **dict.fromkeys(BESIDE, set(BESIDE)),
    **dict.fromkeys(ON_TOP, {*ROOMS, *BESIDE, "pipeline", "commands", "doctor"}),
    **{name: {*ROOMS[:place], *BESIDE} for place, name in enumerate(ROOMS)},
}
# Splits know who speaks in a corpus.
KNOWN["splits"] |= {"corpora"}
KNOWN["corpora"] -= {"splits"}


def room(path: Path) -> str:
    """``corpora/tess.py`` → ``corpora``, ``runs.py`` → ``runs``."""
    return path.relative_to(HELPERS).with_suffix("").parts[0]


def module(path: Path) -> str:
    """``corpora/tess.py`` → ``helpers.corpora.tess``."""
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def imported_names(tree: ast.AST) -> set[str]:
    """Full names of all that ``tree`` imports, wherever it does so."""
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, "an import by dots would hide where it points"
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return names


def rooms_behind(path: Path) -> set[str]:
    """Rooms that ``path`` imports from, its own left out; inside functions too."""
    names = imported_names(ast.parse(path.read_text(encoding="utf-8")))
    own = [name for name in names if name.startswith("helpers.")]
    return {name.split(".")[1] for name in own} - {room(path), "__version__"}


def test_every_module_has_its_place():
    assert {room(path) for path in FILES} == {*ROOMS, *BESIDE, *ON_TOP, "__init__"}


@pytest.mark.parametrize("path", FILES, ids=module)
def test_no_import_points_back(path):
    assert rooms_behind(path) <= KNOWN[room(path)]


def arguments_of(command: str, folder: Path) -> list[str]:
    """A ``ser`` command, with what it needs: a model, or clips of three speakers."""
    if command == "predict":
        card = make_card(name="tiny", classes=CLASSES, settings=SETTINGS)
        model = save_model(build_tiny_model(), folder / "model.keras", card)
        return [command, str(write_tone(folder / "clip.wav")), "--model", str(model)]
    for place, name in enumerate(f"{e}/{s}/{n}" for e in CLASSES for s in "abc" for n in "12"):
        write_tone(folder / "own" / f"{name}.wav", 200 + 40 * place, duration_s=0.3)
    return [command, "--corpora", str(folder / "own"), "--model", "svm", "--folds", "1"]


@lru_cache
def room_at(file: str) -> str | None:
    """Room of a source file, None if it is none of ours."""
    return room(Path(file)) if HELPERS in Path(file).parents else None


@pytest.mark.parametrize(
    ("command", "known"), [("predict", ("models", "sound")), ("cv", ("experiments", "evaluation"))]
)
def test_no_call_points_back(command, known, tmp_path, monkeypatch):
    """Not at run time either: only what ``map_clips`` is given to call stands above its caller."""
    calls = set()

    def note(frame, event, _):
        callee = room_at(frame.f_code.co_filename)
        if event != "call" or callee is None:
            return
        caller = frame.f_back
        while caller and room_at(caller.f_code.co_filename) is None:
            caller = caller.f_back
        if caller:
            calls.add((room_at(caller.f_code.co_filename), callee))

    monkeypatch.setenv("SER_OUTPUTS", str(tmp_path))
    for name, value in KEEP_MEMORY.items():  # the command sets them; put back at the end
        monkeypatch.setenv(name, value)
    # A thread in place of processes, into which nobody sees.
    monkeypatch.setattr(crossval, "_open_pool", lambda jobs: ThreadPoolExecutor(1))
    arguments = arguments_of(command, tmp_path)
    threading.setprofile(note)
    sys.setprofile(note)
    try:
        assert main(arguments) == 0
    finally:
        sys.setprofile(None)
        threading.setprofile(None)
    assert known in calls
    passed_in = {(caller, callee) for caller, callee in calls if caller == "parallel"}
    wrong = [call for call in calls - passed_in if call[1] not in {call[0], *KNOWN[call[0]]}]
    assert wrong == []


def test_no_modules_import_each_other():
    """Not inside a room either: what one module of a circle is, only the others could say."""
    names = {module(path) for path in FILES}
    sorter = graphlib.TopologicalSorter()
    for path in FILES:
        found = imported_names(ast.parse(path.read_text(encoding="utf-8"))) & names
        # `from helpers.sound import audio` names the room as well; only its module counts.
        packages = {module(p) for p in FILES if p.stem == "__init__"}
        sorter.add(module(path), *(found - {module(path)} - packages))
    sorter.prepare()  # raises CycleError


def test_imports_are_really_found():
    assert {"features", "runs"} <= rooms_behind(HELPERS / "models/modelfile.py")
    assert "models" in rooms_behind(HELPERS / "commands.py")  # inside a function


@pytest.mark.parametrize("path", FILES, ids=module)
def test_heavy_packages_are_imported_where_they_are_used(path):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    # Bodies of functions run later, or never.
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            node.body = [ast.Pass()]
    found = {name for name in imported_names(tree) if name in HEAVY or name.split(".")[0] in HEAVY}
    assert not found - ALLOWED.get(room(path), set())


@pytest.mark.parametrize(
    ("package", "rooms"), [("ipywidgets", {"app"}), ("sounddevice", {"sound"})]
)
def test_few_rooms_know_the_machine(package, rooms):
    using = {
        room(path)
        for path in FILES
        if package in imported_names(ast.parse(path.read_text(encoding="utf-8")))
    }
    assert using == rooms


IMPORT_ALL = """
import json, logging, os, random, sys, threading, warnings
import numpy as np

def state():
    return {
        "random": hash(random.getstate()),
        "numpy": np.random.get_state()[1].tolist(),
        "environment": dict(os.environ),
        "folder": os.getcwd(),
        "root handlers": len(logging.getLogger().handlers),
        "root level": logging.getLogger().level,
        "threads": sorted(thread.name for thread in threading.enumerate()),
        "filters": len(warnings.filters),
        "stdout": repr(sys.stdout),
        "files": sorted(os.listdir(".")),
    }

import importlib, pandas, scipy, joblib, tqdm, soundfile, soxr  # not ours to answer for
if sys.argv[2]:
    import IPython, ipywidgets
before = state()
for name in sys.argv[1].split():
    importlib.import_module(name)
after = state()
changed = [key for key in before if before[key] != after[key]]
print(json.dumps({"changed": changed, "modules": sorted(sys.modules)}))
"""


@pytest.mark.parametrize("live", [False, True], ids=["without live", "live"])
def test_importing_has_no_effect(tmp_path, live):
    modules = [module(path) for path in FILES if (room(path) in ALLOWED) == live]
    done = subprocess.run(
        [sys.executable, "-c", IMPORT_ALL, " ".join(modules), "live" if live else ""],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (0, "")
    found = json.loads(done.stdout)
    assert found["changed"] == []
    assert set(modules) <= set(found["modules"])
    loaded = HEAVY & set(found["modules"])
    assert loaded == ({"ipywidgets"} if live else set())


@pytest.mark.parametrize("path", FILES, ids=module)
def test_a_module_is_short_and_says_what_it_is(path):
    text = path.read_text(encoding="utf-8")
    n_lines = len(text.splitlines())
    assert n_lines <= MAX_LINES, f"{module(path)} has {n_lines} lines: at most {MAX_LINES}"
    tree = ast.parse(text)
    assert ast.get_docstring(tree)
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_"):
            assert ast.get_docstring(node), f"{module(path)}.{node.name} has no docstring"
