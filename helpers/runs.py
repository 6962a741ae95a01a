"""The run folder: what one walk through the notebooks reads and writes.

A run is a folder under ``outputs/``. No state passes from one notebook to the next except through
it, so a notebook can be re-run alone, and a run can be zipped and compared with another.
"""

from __future__ import annotations

import ast
import hashlib
import inspect
import json
import logging
import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from types import ModuleType

import numpy as np
import pandas as pd

from helpers import __version__
from helpers.columns import TEXT
from helpers.errors import UserError

# pandas prefers the strings of pyarrow, which cannot hold a file name that is not UTF-8.
pd.set_option("mode.string_storage", "python")
PROJECT_ROOT = Path(__file__).resolve().parents[1]
NOTEBOOKS = (
    "01_explore",
    "02_features",
    "03_augment",
    "04_train_lstm",
    "05_train_cnn",
    "06_evaluate",
    "07_predict_live",
)
_LOG = logging.getLogger(__name__)
_VERSIONS_OF = ("tensorflow", "keras", "librosa", "numpy", "pandas", "scikit-learn", "soundfile")


def data_home() -> Path:
    """Folder that holds one folder per corpus: ``$SER_DATA``, or ``data/`` of the project.

    A relative ``$SER_DATA`` is looked for from the working folder, then from the project: a
    notebook's working folder is ``notebooks/``, a terminal's usually the project's.
    """
    if not os.environ.get("SER_DATA"):
        return PROJECT_ROOT / "data"
    named = Path(os.environ["SER_DATA"]).expanduser()
    return named.resolve() if named.exists() else (PROJECT_ROOT / named).resolve()


def outputs_home() -> Path:
    """Folder that holds one folder per run: ``$SER_OUTPUTS``, or ``outputs/`` of the project."""
    return Path(os.environ.get("SER_OUTPUTS") or PROJECT_ROOT / "outputs").expanduser()


def cache_home() -> Path:
    """Folder of the feature cache; deleting it costs only time."""
    return outputs_home() / ".cache"


@contextmanager
def atomic_write(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path beside ``path`` and rename it over ``path`` on success.

    A reader sees the old file or the new one, never half of one; an error leaves nothing behind.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with atomic_write(Path(folder) / "a" / "note.txt") as temporary:
    ...         _ = temporary.write_text("hello")
    ...     (Path(folder) / "a" / "note.txt").read_text()
    'hello'
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    # The suffix stays last: Keras and matplotlib choose the format by it.
    handle, name = tempfile.mkstemp(prefix=f".{path.stem}-", suffix=path.suffix, dir=path.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        temporary.chmod(0o644)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def atomic_folder(path: str | Path) -> Iterator[Path]:
    """Yield an empty folder beside ``path`` and put it in the place of ``path`` on success.

    An error leaves ``path`` as it was. What a killed process left beside it is removed by the next
    call, so only one call at a time may make a folder: see :func:`one_at_a_time`.
    """
    path = Path(path)
    made = path.with_name(f".{path.name}-new")
    replaced = path.with_name(f".{path.name}-old")
    shutil.rmtree(made, ignore_errors=True)
    made.mkdir(parents=True)
    try:
        yield made
        shutil.rmtree(replaced, ignore_errors=True)
        if path.exists():
            path.rename(replaced)
        made.rename(path)
    finally:
        shutil.rmtree(made, ignore_errors=True)
        shutil.rmtree(replaced, ignore_errors=True)


@contextmanager
def one_at_a_time(path: str | Path) -> Iterator[None]:
    """Let one process or thread work on ``path``; the others wait, and say so in the log.

    The system gives the lock back when a process ends, however it ends: none is ever stale.
    """
    from filelock import FileLock, Timeout

    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    file = path.with_name(f".{path.name}.lock")
    lock = FileLock(file)
    try:
        lock.acquire(blocking=False)
    except Timeout:
        _LOG.warning("another process works on %s: waiting for it", path)
        lock.acquire()
    try:
        yield
    finally:
        # While it is locked: whoever waits notices, and makes a new file.
        with suppress(OSError):  # Windows keeps an open file; an empty one does no harm
            file.unlink()
        lock.release()


@dataclass(frozen=True)
class Run:
    """One run folder and the verbs to read and write in it.

    Parameters
    ----------
    folder : Path
        ``outputs/<run>``; made at the first write.

    Examples
    --------
    >>> import tempfile
    >>> run = Run(Path(tempfile.mkdtemp()) / "demo")
    >>> run.save_json({"uar": 0.5}, "metrics.json").name
    'metrics.json'
    >>> run.read_json("metrics.json", made_by="06_evaluate")
    {'uar': 0.5}
    """

    folder: Path

    @property
    def name(self) -> str:
        """That of its folder."""
        return self.folder.name

    def path(self, name: str) -> Path:
        """Where ``name`` lies in this run, whether it exists or not."""
        return self.folder / name

    def require(self, name: str, *, made_by: str) -> Path:
        """Path of an earlier notebook's result; UserError names the notebook to run first."""
        path = self.path(name)
        if not path.exists():
            raise UserError(
                f"{path} is not there. It is written by notebooks/{made_by}.ipynb: run that one "
                f"first, with the same RUN = {self.name!r} (`ser run --run {self.name}` does all)."
            )
        return path

    def save_table(self, table: pd.DataFrame, name: str) -> Path:
        """Write ``table`` as CSV (UTF-8, no index)."""
        with atomic_write(self.path(name)) as temporary:
            # A file name that is not UTF-8 is written as it is, so that it can be opened again.
            table.to_csv(temporary, index=False, lineterminator="\n", errors="surrogateescape")
        return self.path(name)

    def read_table(self, name: str, *, made_by: str) -> pd.DataFrame:
        """Read a CSV that :meth:`save_table` wrote; empty text stays empty text."""
        path = self.require(name, made_by=made_by)
        columns = pd.read_csv(path, nrows=0, encoding_errors="surrogateescape").columns
        # Only an empty number is a missing value: an emotion may be called "none" or "NA".
        return pd.read_csv(
            path,
            dtype=dict.fromkeys(TEXT, str),
            encoding_errors="surrogateescape",
            keep_default_na=False,
            na_values={column: [""] for column in columns if column not in TEXT},
        )

    def save_json(self, content: dict, name: str) -> Path:
        """Write ``content`` as JSON with sorted keys; NaN becomes null."""
        return self.save_text(dump_json(content), name)

    def save_text(self, text: str, name: str) -> Path:
        """Write ``text`` in UTF-8; bytes of a file name that are none are spelled out."""
        with atomic_write(self.path(name)) as temporary:
            temporary.write_text(text, encoding="utf-8", errors="backslashreplace")
        return self.path(name)

    def read_json(self, name: str, *, made_by: str) -> dict:
        """Read a JSON file that :meth:`save_json` wrote."""
        path = self.require(name, made_by=made_by)
        try:
            return json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise UserError(
                f"{path} is damaged ({error}): run notebooks/{made_by}.ipynb again"
            ) from error


def show_progress() -> None:
    """Print what the package logs, such as how many features were computed and how many found."""
    logging.basicConfig(format="%(message)s", stream=sys.stdout)
    logging.getLogger("helpers").setLevel(logging.INFO)
    logging.getLogger("asyncio").setLevel(logging.CRITICAL)  # an ending kernel reports its tasks


def open_run(name: str) -> Run:
    """Return the run called ``name``; UserError if it is no plain folder name."""
    if not _is_run_name(name):
        raise UserError(
            f"run name {name!r}: expected a plain folder name such as 'tess-1', without slashes "
            "and not starting with a dot"
        )
    return Run(outputs_home() / name)


def find_run(name: str) -> Run:
    """Return the run of a name under ``outputs/``, or else of a folder; UserError if none."""
    home = outputs_home()
    if _is_run_name(name) and (home / name).is_dir():
        return open_run(name)
    if Path(name).is_dir():
        return Run(Path(name).resolve())
    known = ", ".join(sorted(path.parent.name for path in home.glob("[!.]*/data.json")))
    raise UserError(
        f"{name}: found no such run, expected a folder or a name in {home}"
        + (f": {known}" if known else ", which holds none yet")
    )


def _is_run_name(name: str) -> bool:
    is_one_part = bool(name) and name == Path(name).name
    return is_one_part and name.isprintable() and not name.startswith(".")


def dump_json(content: object) -> str:
    """JSON text with sorted keys, numpy numbers as numbers and NaN as null."""
    return json.dumps(_plain(content), indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def _plain(value: object) -> object:
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | np.ndarray):
        return [_plain(item) for item in value]
    if isinstance(value, np.generic):
        return _plain(value.item())
    if isinstance(value, float) and not np.isfinite(value):
        return None
    if isinstance(value, Path):
        return str(value)
    return value


def package_versions() -> dict[str, str]:
    """Versions of Python, of this project, and of the packages that a score depends on."""
    ours = {"python": platform.python_version(), "helpers": __version__}
    return ours | {name: version(name) for name in _VERSIONS_OF}


def fingerprint(table: pd.DataFrame) -> str:
    """Short hash of the clips' contents and labels; paths and row order do not matter.

    Examples
    --------
    >>> clips = pd.DataFrame({"sha256": ["a", "b"], "emotion": ["sad", "happy"]})
    >>> fingerprint(clips) == fingerprint(clips[::-1])
    True
    """
    rows = sorted(f"{row.sha256} {row.emotion}" for row in table.itertuples())
    # A label may be the name of a folder, in bytes that are no UTF-8.
    return hashlib.sha256("\n".join(rows).encode(errors="surrogateescape")).hexdigest()[:16]


def hash_code(*parts: Callable | ModuleType) -> str:
    """Short hash of modules, or of those that hold these functions.

    Comments, docstrings and layout do not count, and neither does what a module imports.

    Examples
    --------
    >>> hash_code(fingerprint) == hash_code(dump_json) != hash_code(json)
    True
    """
    trees = []
    for part in parts:
        tree = ast.parse(inspect.getsource(inspect.getmodule(part) or part))
        for node in ast.walk(tree):
            if not isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
                continue
            if ast.get_docstring(node):
                node.body = node.body[1:] or [ast.Pass()]
        trees.append(ast.dump(tree))
    return hashlib.sha256("\n".join(trees).encode()).hexdigest()[:16]
