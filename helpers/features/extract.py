"""From recordings to feature tables: one clip or a whole corpus, in parallel and cached.

The formulas are in :mod:`helpers.features.families`. The log-mel is the one that the saved model
computes inside itself, so that training and prediction see the same picture.
"""

from __future__ import annotations

import hashlib
import json
import logging
import tempfile
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache as cached
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pandas as pd

from helpers.errors import UserError
from helpers.features import families as formulas
from helpers.features import voice
from helpers.features.families import FAMILIES, FRAME_FAMILIES, Analysis, FeatureSettings
from helpers.parallel import map_clips
from helpers.runs import atomic_write, cache_home, hash_code
from helpers.sound import audio, decoders
from helpers.sound.audio import SAMPLE_RATE, fit_clip, hash_clip, load_audio

_LIBRARIES = ("librosa", "numpy", "scipy", "soxr", "soundfile", "av")
_LOG = logging.getLogger(__name__)


def compute_features(
    y: np.ndarray, *, family: str, settings: FeatureSettings | None = None
) -> np.ndarray | dict[str, float]:
    """Features of one waveform at 16 kHz, of one of :data:`FAMILIES`.

    Returns
    -------
    np.ndarray, shape (n_frames, n_bins), float32
        For a frame family; the clip is first brought to ``settings.clip_s``.
    dict of str to float
        For a clip family; the clip keeps its length.

    Raises
    ------
    UserError
        The family is unknown.

    Examples
    --------
    >>> y = np.sin(np.linspace(0, 2000, 16000)).astype("float32")
    >>> compute_features(y, family="logmel").shape
    (151, 64)
    >>> len(compute_features(y, family="vector162"))
    162
    """
    _check_family(family)
    return _compute(y, [family], settings or FeatureSettings())[family]


def extract_features(
    table: pd.DataFrame,
    *,
    family: str | Sequence[str],
    settings: FeatureSettings | None = None,
    n_jobs: int = -1,
    cache: Path | None = None,
) -> np.ndarray | pd.DataFrame | dict[str, np.ndarray | pd.DataFrame]:
    """Features of every clip of an utterance table, in parallel and cached.

    The cache is keyed by the content of the file, the settings that the family depends on, the code
    that computes it and the library versions. Each clip is kept as it is done: a call that was
    killed is carried on by the next. How long it took is logged.

    Parameters
    ----------
    table : pd.DataFrame
        Utterance table; ``path`` is read, and ``sha256`` (of the file's bytes) where it is there.
    family : str or sequence of str
        Of :data:`FAMILIES`. Several at once decode each clip once.
    settings : FeatureSettings, optional
    n_jobs : int, default=-1
        Processes; -1 for one per core. See :func:`helpers.parallel.map_clips` for a cluster.
    cache : Path, optional
        Cache folder; ``outputs/.cache`` by default.

    Returns
    -------
    np.memmap, shape (n_clips, n_frames, n_bins), float16, read-only
        For a frame family: mapped, since it may be larger than memory. Half precision rounds by
        up to 0.05 %.
    pd.DataFrame, shape (n_clips, n_columns), float32
        For a clip family, indexed as ``table``.
    dict of str to one of these
        For several families.

    Raises
    ------
    AudioError
        A clip cannot be decoded (``inspect_clips`` leaves such clips out beforehand).
    UserError
        A family is unknown, a file has changed since its ``sha256`` was taken, the cluster cannot
        be used, or what its workers wrote cannot be seen here.
    """
    families = [family] if isinstance(family, str) else list(family)
    for name in families:
        _check_family(name)
    settings = settings or FeatureSettings()
    start = time.perf_counter()
    stores = {name: _open_store(name, settings, cache or cache_home()) for name in families}
    keys = _content_hashes(table)
    jobs = []
    for key, path in dict(zip(keys, table["path"], strict=True)).items():
        missing = {name: store for name, store in stores.items() if store.read(key) is None}
        if missing:
            jobs.append((path, key, missing, settings))
    label = ", ".join(families)
    for _ in map_clips(_fill_stores, jobs, n_jobs=n_jobs, label=label):
        pass  # each job keeps its own result
    tables = {name: store.gather(keys) for name, store in stores.items()}
    fresh = {key for _, key, *_ in jobs}
    n_cached = sum(key not in fresh for key in keys)
    seconds = time.perf_counter() - start
    _LOG.info("%s: %d clips in %.1f s (%d from the cache)", label, len(keys), seconds, n_cached)
    for name in set(families).difference(FRAME_FAMILIES):
        columns = _stored_names(name, stores[name].folder)
        tables[name] = pd.DataFrame(np.array(tables[name]), table.index, columns)
    return tables[family] if isinstance(family, str) else tables


def feature_names(family: str) -> list[str]:
    """Column names of a clip family, in order."""
    noise = np.random.default_rng(0).normal(size=SAMPLE_RATE).astype("float32") / 10
    return list(compute_features(noise, family=family))


def _check_family(family: str) -> None:
    if family not in FAMILIES:
        raise UserError(f"feature family {family!r}: expected one of {', '.join(FAMILIES)}")


def _compute(
    y: np.ndarray, families: Iterable[str], settings: FeatureSettings
) -> dict[str, np.ndarray | dict[str, float]]:
    """Several families of one waveform, which share what they have in common."""
    whole = fitted = Analysis(y, settings)
    if set(families) & set(FRAME_FAMILIES):
        fitted = Analysis(fit_clip(y, settings.n_samples), settings)
    return {name: FAMILIES[name](fitted if name in FRAME_FAMILIES else whole) for name in families}


# --- the cache ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class _RowStore:
    """Rows of one shape under one folder, kept by the hash of what each was computed from.

    Rows are written one by one, so that whatever was done survives a kill, and read as one table,
    which is mapped and not loaded. Deleting any of it costs only time.
    """

    folder: Path
    shape: tuple[int, ...]
    dtype: str

    def read(self, key: str) -> np.ndarray | None:
        """Return a row; None if it is not there yet or not readable."""
        try:
            row = np.load(self._path(key))
        except (OSError, ValueError, EOFError):
            return None
        return row if row.shape == self.shape and row.dtype == self.dtype else None

    def write(self, key: str, row: Sequence[float] | np.ndarray) -> None:
        """Keep a row; another process that writes it at the same time writes the same."""
        with atomic_write(self._path(key)) as temporary:
            np.save(temporary, np.asarray(row, dtype=self.dtype))

    def gather(self, keys: list[str]) -> np.ndarray:
        """The rows of ``keys``, in order, in one file that goes when nobody reads it any more."""
        shape = (len(keys), *self.shape)
        if not keys:
            return np.zeros(shape, self.dtype)  # nothing cannot be mapped
        self.folder.mkdir(parents=True, exist_ok=True)
        # Written, not mapped: what is written through a map counts as memory of this process.
        with tempfile.TemporaryFile(dir=self.folder) as file:
            for key in keys:
                row = self.read(key)
                if row is None:
                    raise UserError(
                        f"features that were computed just now are not in {self.folder}: workers "
                        "need the same folder under the same name"
                    )
                file.write(row.tobytes())
            return np.memmap(file, self.dtype, "r", shape=shape)

    def _path(self, key: str) -> Path:
        return self.folder / key[:2] / f"{key}.npy"


def _fill_stores(job: tuple[str, str, dict[str, _RowStore], FeatureSettings]) -> None:
    """Compute and keep the families of one clip that are missing."""
    path, key, stores, settings = job
    y = load_audio(path)
    if _hash_file(path) != key:
        raise UserError(
            f"{path}: the recording has changed since it was listed; run 01_explore again"
        )
    for name, values in _compute(y, stores, settings).items():
        stores[name].write(key, list(values.values()) if isinstance(values, dict) else values)


def _open_store(family: str, settings: FeatureSettings, cache: Path) -> _RowStore:
    folder = Path(cache) / f"{family}-{_settings_key(family, settings)}"
    if family in FRAME_FAMILIES:
        return _RowStore(folder, (settings.n_frames, settings.n_bins(family)), "float16")
    return _RowStore(folder, (len(_stored_names(family, folder)),), "float32")


def _settings_key(family: str, settings: FeatureSettings) -> str:
    """Short hash of all that the values of a family depend on besides the clip."""
    names = ["n_fft", "hop"]
    names += ["clip_s"] if family in FRAME_FAMILIES else []
    names += ["n_mels", "range_db"] if family.startswith("logmel") else []
    content = [f"{name}={getattr(settings, name)}" for name in names]
    content += [f"{name}={version(name)}" for name in _LIBRARIES]
    content.append(_hash_formulas())
    return hashlib.sha256("\n".join(content).encode()).hexdigest()[:12]


@cached
def _hash_formulas() -> str:
    return hash_code(audio, decoders, formulas, voice)


def _stored_names(family: str, folder: Path) -> list[str]:
    """Column names of a clip family; kept in the cache, since asking librosa takes seconds."""
    path = folder / "columns.json"
    try:
        return list(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError):
        names = feature_names(family)
    with atomic_write(path) as temporary:
        temporary.write_text(json.dumps(names), encoding="utf-8")
    return names


def _content_hashes(table: pd.DataFrame) -> list[str]:
    """``sha256`` of each clip: that of the table, or of the file where the table has none."""
    if "sha256" not in table:
        return [_hash_file(path) for path in table["path"]]
    known = zip(table["sha256"], table["path"], strict=True)
    return [key if pd.notna(key) else _hash_file(path) for key, path in known]


def _hash_file(path: str) -> str:
    try:
        return hash_clip(path)
    except OSError:
        load_audio(path)  # raises the error that explains what is there instead
        raise
