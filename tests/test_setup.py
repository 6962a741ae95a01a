"""What a newcomer installs: project, environment, lock and Makefile agree with each other."""

import ast
import importlib.metadata
import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tomllib
from pathlib import Path

import pytest
import yaml
from conftest import ROOT
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from test_structure import imported_names

SCRIPTS = Path(sysconfig.get_path("scripts"))
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
LOCK_TEXT = (ROOT / "requirements.lock").read_text(encoding="utf-8")
ENVIRONMENT_TEXT = (ROOT / "environment.yml").read_text(encoding="utf-8")
ENVIRONMENT = yaml.safe_load(ENVIRONMENT_TEXT)
GENERATED = {".git", ".venv", "data", "outputs", "helpers.egg-info", "__pycache__"}
GENERATED |= {".pytest_cache", ".ruff_cache", ".mypy_cache", ".hypothesis", ".ipynb_checkpoints"}

needs_make = pytest.mark.skipif(
    shutil.which("make") is None, reason="make is not installed; README has the steps without it"
)


def declared() -> set[str]:
    """Names that pyproject.toml asks for, extras included."""
    project = PROJECT["project"]
    lines = [*project["dependencies"], *sum(project["optional-dependencies"].values(), [])]
    return {canonicalize_name(Requirement(line).name) for line in lines}


def locked(**marker_values: str) -> dict[str, Requirement]:
    """Pins of requirements.lock for this machine, or for the marker values given."""
    lines = [line for line in LOCK_TEXT.splitlines() if not line.startswith(" ")]
    pins = [Requirement(line.removesuffix("\\")) for line in lines]
    wanted = [p for p in pins if p.marker is None or p.marker.evaluate(marker_values)]
    return {canonicalize_name(pin.name): pin for pin in wanted}


def version(pin: Requirement) -> str:
    (specifier,) = pin.specifier
    assert specifier.operator == "==", f"not an exact version: {pin}"
    return specifier.version


def project_files() -> list[Path]:
    """Every file of the project that is not generated, tracked or about to be."""
    found = []
    for folder, subfolders, names in os.walk(ROOT):
        subfolders[:] = [s for s in subfolders if s not in GENERATED]
        found += [Path(folder, name) for name in names if name not in GENERATED]
    return [*found, ROOT / "data" / "README.md"]


def make(*arguments: str, cwd: Path = ROOT, **environment: str) -> subprocess.CompletedProcess:
    # Inside `make test` the outer make's flags would leak into the inner one.
    clean = {k: v for k, v in os.environ.items() if k not in ("MAKEFLAGS", "MAKELEVEL", "MFLAGS")}
    return subprocess.run(
        ["make", *arguments], cwd=cwd, env=clean | environment, capture_output=True, text=True
    )


# ---- The lock, environment.yml and pyproject.toml ----


def test_lock_is_names_versions_markers_and_hashes_only():
    blocks = re.split(r"\n(?! )", LOCK_TEXT.strip())
    pin = re.compile(r"[a-z0-9-]+==[^\s;]+( ; [^\\]+)?( \\\n    --hash=sha256:[0-9a-f]{64})+")
    assert [block for block in blocks if not pin.fullmatch(block)] == []


def test_every_dependency_is_in_the_lock():
    # setuptools builds the package (no build isolation), so it is pinned like the rest.
    builders = {canonicalize_name(Requirement(r).name) for r in PROJECT["build-system"]["requires"]}
    for python in ("3.11", "3.12", "3.13"):
        pins = locked(python_version=python, python_full_version=f"{python}.9")
        assert (declared() | builders) - set(pins) == set(), f"not locked for Python {python}"


def test_environment_yml_has_the_versions_of_the_lock():
    python = next(d for d in ENVIRONMENT["dependencies"] if str(d).startswith("python="))
    branch = python.removeprefix("python=")
    pins = locked(python_version=branch, python_full_version=f"{branch}.9")
    packages = next(d["pip"] for d in ENVIRONMENT["dependencies"] if isinstance(d, dict))
    assert packages[-1] == "--editable ."
    listed = {canonicalize_name(r.name): r for r in map(Requirement, packages[:-1])}
    assert set(listed) == declared()
    assert {n: version(r) for n, r in listed.items()} == {n: version(pins[n]) for n in listed}


def test_installed_versions_are_those_of_the_lock():
    pins = locked()
    installed = {name: importlib.metadata.version(name) for name in declared()}
    assert installed == {name: version(pins[name]) for name in declared()}


def notebook_code(path: Path) -> str:
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    lines = [s for c in cells if c["cell_type"] == "code" for s in "".join(c["source"]).split("\n")]
    return "\n".join("pass" if s.lstrip().startswith(("%", "!")) else s for s in lines)


def test_everything_imported_is_declared():
    sources = {p: p.read_text(encoding="utf-8") for p in ROOT.glob("helpers/**/*.py")}
    sources |= {p: p.read_text(encoding="utf-8") for p in ROOT.glob("tests/**/*.py")}
    sources |= {p: notebook_code(p) for p in ROOT.glob("notebooks/*.ipynb")}
    ours = {"helpers"} | {
        p.stem for place in ("tests", "benchmarks") for p in ROOT.glob(f"{place}/*.py")
    }
    distributions = importlib.metadata.packages_distributions()
    undeclared = []
    for path, source in sources.items():
        packages = {name.partition(".")[0] for name in imported_names(ast.parse(source))}
        for package in sorted(packages - ours - sys.stdlib_module_names):
            names = {canonicalize_name(n) for n in distributions.get(package, [package])}
            if not names & declared():
                undeclared.append(f"{path.relative_to(ROOT)} imports {package}")
    assert undeclared == []


# ---- Checks before a commit ----


@needs_make
def test_make_check_passes():
    result = make("lint", f"BIN={SCRIPTS}")
    assert result.returncode == 0, result.stdout + result.stderr


def hooks() -> dict[str, dict]:
    config = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))
    return {hook["id"]: hook for repo in config["repos"] for hook in repo["hooks"]}


def test_pre_commit_has_the_versions_of_the_lock():
    pins = locked()
    for hook in hooks().values():
        (line,) = hook["additional_dependencies"]
        tool = Requirement(line)
        assert tool.name == hook["entry"].split()[0]
        assert version(tool) == version(pins[tool.name]), f"`make lock` moved {tool.name}"


def test_pre_commit_runs_the_tools_of_make_check():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    recipe = makefile.partition("\nlint:\n")[2].partition("\n\n")[0]
    tools = {"ruff-format": "ruff", "ruff-check": "ruff", "nbstripout": "STRIP"}
    assert set(hooks()) == {*tools, "codespell"}
    # mypy reads the packages around it, which a hook's own environment does not have.
    assert len(recipe.splitlines()) == len(hooks()) + 1
    assert '"$(BIN)/mypy"' in recipe
    assert f"STRIP := {hooks()['nbstripout']['entry']}\n" in makefile


def test_no_file_names_a_machine_or_a_registry():
    # Put together here, so that this file does not find itself.
    words = [f"/{folder}/" for folder in ("home", "root", "Users", "tmp", "work")] + ["C:" + "\\"]
    words += [f"{host}." for host in ("pypi", "pythonhosted", "anaconda", "npmjs")]
    words += [f"{option}-{what}" for option, what in (("index", "url"), ("find", "links"))]
    found = []
    for path in project_files():
        content = path.read_bytes()
        if b"\0" in content:
            continue
        found += [f"{path.relative_to(ROOT)}: {w}" for w in words if w.encode() in content]
    assert found == []


def test_the_workflow_tests_each_python_on_three_systems():
    workflow = yaml.safe_load((ROOT / ".github/workflows/test.yml").read_text(encoding="utf-8"))
    matrix = workflow["jobs"]["test"]["strategy"]["matrix"]
    wanted = SpecifierSet(PROJECT["project"]["requires-python"])
    assert matrix["python"] == [f"3.{n}" for n in range(30) if f"3.{n}" in wanted]
    assert [name.partition("-")[0] for name in matrix["system"]] == ["ubuntu", "macos", "windows"]
    steps = [step.get("run", "") for step in workflow["jobs"]["test"]["steps"]]
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    for line in steps[-1].splitlines()[1:]:  # without make, as the README says it
        assert line.partition(" -n ")[0] in readme


# ---- The Makefile ----


@needs_make
def test_make_help_lists_every_target():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    phony = set(re.search(r"^\.PHONY: (.*)$", makefile, re.MULTILINE)[1].split())
    internal = {"lint", "remake"}
    listed = dict(re.findall(r"^  make (\w+) +(\S.*)$", make("help").stdout, re.MULTILINE))
    assert set(listed) == phony - internal


@pytest.fixture
def copy_with_space(tmp_path):
    """The files that set-up reads, in a folder with a space, with this Python as its .venv."""
    root = tmp_path / "a copy"
    (root / ".venv" / "bin").mkdir(parents=True)
    for name in ("Makefile", "pyproject.toml", "requirements.lock"):
        shutil.copy(ROOT / name, root)
    (root / ".venv" / "bin" / "python").symlink_to(sys.executable)
    return root


def planned(root: Path) -> list[str]:
    """What `make setup` would do: any of venv, lock, package."""
    plan = make("--dry-run", "setup", cwd=root).stdout
    steps = {"venv": "-m venv", "lock": "--require-hashes", "package": "--editable"}
    return [step for step, sign in steps.items() if sign in plan]


def touch_later(path: Path) -> None:
    later = max(p.stat().st_mtime for p in path.parent.glob(".venv/.*-*")) + 10
    os.utime(path, (later, later))


@needs_make
def test_make_sets_up_once_and_again_only_for_what_changed(copy_with_space):
    assert planned(copy_with_space) == ["venv", "lock", "package"]
    make("--touch", "setup", cwd=copy_with_space)  # as if all had been installed
    assert planned(copy_with_space) == []
    touch_later(copy_with_space / "pyproject.toml")
    assert planned(copy_with_space) == ["package"]
    touch_later(copy_with_space / "requirements.lock")
    assert planned(copy_with_space) == ["lock", "package"]


@needs_make
def test_make_starts_anew_when_the_environment_broke_or_moved(copy_with_space):
    make("--touch", "setup", cwd=copy_with_space)
    moved = copy_with_space.rename(copy_with_space.with_name("elsewhere"))
    assert planned(moved) == ["venv", "lock", "package"]
    make("--touch", "setup", cwd=moved)
    assert planned(moved) == []
    python = moved / ".venv" / "bin" / "python"
    python.unlink()
    python.symlink_to(moved / "a-python-that-was-upgraded-away")
    assert planned(moved) == ["venv", "lock", "package"]


@needs_make
@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ("echo 3.10 linux-x86_64 /opt/python3.10", "python3 is Python 3.10 (/opt/python3.10)"),
        ("echo 3.12 darwin-x86_64 /opt/intel", "TensorFlow has wheels for Apple silicon only"),
        ("echo 3.12 linux-x86_64 /usr/bin/false", "sudo apt install python3.12-venv"),
        ("exit 127", "Found: none of them"),
    ],
    ids=["too old", "Intel Mac", "no venv module", "none"],
)
def test_make_explains_which_python_it_needs(copy_with_space, answer, said):
    shutil.rmtree(copy_with_space / ".venv")
    stubs = copy_with_space / "stubs"
    stubs.mkdir()
    for name in ("python3", "python3.13", "python3.12", "python3.11", "python"):
        stub = stubs / name
        stub.write_text(f"#!/bin/sh\n{answer if name == 'python3' else 'exit 127'}\n")
        stub.chmod(0o755)
    path = f"{stubs}{os.pathsep}{os.environ['PATH']}"
    result = make("setup", cwd=copy_with_space, PATH=path, PYTHON="")
    assert result.returncode != 0
    assert "needs Python 3.11, 3.12 or 3.13" in result.stderr
    assert said in result.stderr
    assert not (copy_with_space / ".venv").exists()
