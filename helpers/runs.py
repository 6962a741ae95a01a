"""The run folder: what one walk through the notebooks reads and writes.

A run is a folder under ``outputs/``. No state passes from one notebook to the next except through
it, so a notebook can be re-run alone, and a run can be zipped and compared with another.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np
import pandas as pd

from helpers.errors import UserError

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
_VERSIONS_OF = ("tensorflow", "keras", "librosa", "numpy", "pandas", "scikit-learn", "soundfile")


def data_home() -> Path:
    """Folder that holds one folder a corpus: ``$SER_DATA``, or ``data/`` of the project.

    A relative ``$SER_DATA`` is looked for from the working folder, then from the project: a
    notebook's working folder is ``notebooks/``, a terminal's usually the project's.
    """
    if not os.environ.get("SER_DATA"):
        return PROJECT_ROOT / "data"
    named = Path(os.environ["SER_DATA"]).expanduser()
    return named.resolve() if named.exists() else (PROJECT_ROOT / named).resolve()


def outputs_home() -> Path:
    """Folder that holds one folder a run: ``$SER_OUTPUTS``, or ``outputs/`` of the project."""
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
        return self.folder.name

    def path(self, name: str) -> Path:
        """Where ``name`` lies in this run, whether it exists or not."""
        return self.folder / name

    def require(self, name: str, *, made_by: str) -> Path:
        """Return the path of an earlier notebook's result.

        Raises
        ------
        UserError
            The file is not there; the message names the notebook to run first.
        """
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
            table.to_csv(temporary, index=False, lineterminator="\n")
        return self.path(name)

    def read_table(self, name: str, *, made_by: str) -> pd.DataFrame:
        """Read a CSV that :meth:`save_table` wrote; empty text stays empty text."""
        path = self.require(name, made_by=made_by)
        columns = pd.read_csv(path, nrows=0).columns
        # Only an empty number is a missing value: an emotion may be called "none" or "NA".
        return pd.read_csv(
            path,
            dtype=dict.fromkeys(_TEXT_COLUMNS, str),
            keep_default_na=False,
            na_values={column: [""] for column in columns if column not in _TEXT_COLUMNS},
        )

    def save_json(self, content: dict, name: str) -> Path:
        """Write ``content`` as JSON with sorted keys; NaN becomes null."""
        return self.save_text(dump_json(content), name)

    def save_text(self, text: str, name: str) -> Path:
        """Write ``text`` in UTF-8."""
        with atomic_write(self.path(name)) as temporary:
            temporary.write_text(text, encoding="utf-8")
        return self.path(name)

    def read_json(self, name: str, *, made_by: str) -> dict:
        """Read a JSON file that :meth:`save_json` wrote.

        Raises
        ------
        UserError
            The file is not there, or damaged.
        """
        path = self.require(name, made_by=made_by)
        try:
            return json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise UserError(
                f"{path} is damaged ({error}): run notebooks/{made_by}.ipynb again"
            ) from error

    def update_json(self, name: str, **parts: object) -> Path:
        """Replace top-level members of a JSON file and keep the others."""
        path = self.path(name)
        content = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
        return self.save_json({**content, **parts}, name)

    def save_figure(self, figure, name: str) -> Path:
        """Write a matplotlib figure to ``figures/<name>.png``."""
        path = self.path(f"figures/{name}.png")
        with atomic_write(path) as temporary:
            figure.savefig(temporary, dpi=110, bbox_inches="tight")
        return path


_TEXT_COLUMNS = (
    *("path", "corpus", "speaker", "gender", "emotion", "intensity", "text", "channel"),
    *("language", "sha256", "error", "file", "predicted", "split"),
)


def open_run(name: str) -> Run:
    """Return the run called ``name``.

    Raises
    ------
    UserError
        The name is empty or would leave the outputs folder.
    """
    if not (name and name.isprintable()) or name != Path(name).name or name.startswith("."):
        raise UserError(
            f"run name {name!r}: expected a plain folder name such as 'tess-1', without slashes "
            "and not starting with a dot"
        )
    return Run(outputs_home() / name)


def find_run(name: str) -> Run:
    """Return the run of a folder, or of a name under ``outputs/``.

    Raises
    ------
    UserError
        There is neither.
    """
    folder = Path(name)
    run = Run(folder.resolve()) if folder.is_dir() or len(folder.parts) > 1 else open_run(name)
    if not run.folder.is_dir():
        home = outputs_home()
        known = ", ".join(sorted(path.parent.name for path in home.glob("[!.]*/data.json")))
        raise UserError(
            f"{name}: found no such run, expected a folder or a name in {home}"
            + (f": {known}" if known else ", which holds none yet")
        )
    return run


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
    """Versions of Python and of the packages that a score depends on."""
    found = {"python": platform.python_version()}
    for name in _VERSIONS_OF:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    return found


def fingerprint(table: pd.DataFrame) -> str:
    """Short hash of the clips' contents and labels; paths and row order do not matter.

    Examples
    --------
    >>> clips = pd.DataFrame({"sha256": ["a", "b"], "emotion": ["sad", "happy"]})
    >>> fingerprint(clips) == fingerprint(clips[::-1])
    True
    """
    rows = sorted(f"{row.sha256} {row.emotion}" for row in table.itertuples())
    return hashlib.sha256("\n".join(rows).encode()).hexdigest()[:16]
