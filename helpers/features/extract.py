"""From recordings to feature tables: one clip or a whole corpus, in parallel and cached.

The formulas are in :mod:`helpers.features.families`. The log-mel is the one that the saved model computes
inside itself, so that training and prediction see the same picture.
"""

from __future__ import annotations

import hashlib
import inspect
import json
import os
import time
from collections.abc import Iterable, Sequence
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pandas as pd

from helpers.errors import UserError
from helpers.features import families as analysis
from helpers.features import voice
from helpers.features.families import FAMILIES, FRAME_FAMILIES, Analysis, FeatureSettings
from helpers.features.rowstore import RowStore
from helpers.parallel import ClusterError, map_clips
from helpers.runs import atomic_write, cache_home
from helpers.sound.audio import SAMPLE_RATE, fit_clip, load_audio


def compute_features(
    y: np.ndarray, *, family: str, settings: FeatureSettings | None = None
) -> np.ndarray | dict[str, float]:
    """Features of one waveform.

    Parameters
    ----------
    y : np.ndarray, shape (n,), float32
        Waveform at 16 kHz.
    family : str
        One of :data:`FAMILIES`.
    settings : FeatureSettings, optional

    Returns
    -------
    np.ndarray, shape (n_frames, n_bins), float32
        For a frame family; the clip is first brought to ``settings.clip_s``.
    dict of str to float
        For a clip family; the clip keeps its length.

    Raises
    ------
    ValueError
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
    scheduler: str | None = None,
    cache: Path | None = None,
) -> np.ndarray | pd.DataFrame | dict[str, np.ndarray | pd.DataFrame]:
    """Features of every clip of an utterance table, in parallel and cached.

    The cache is keyed by the content of the file, the settings that the family depends on and the
    library versions, so a moved corpus is not computed again and a changed setting is. Each clip
    is kept as it is done: a call that was killed is carried on by the next. What is damaged is
    computed again.

    Parameters
    ----------
    table : pd.DataFrame
        Utterance table; only ``path`` is read.
    family : str or sequence of str
        Of :data:`FAMILIES`. Several at once decode each clip once.
    settings : FeatureSettings, optional
    n_jobs : int, default=-1
        Processes; -1 for one a core.
    scheduler : str, optional
        Address of a Dask scheduler, such as ``tcp://10.0.0.1:8786``, whose workers do it instead.
        They need this package, and the recordings and the cache under the same paths as here.
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
    ValueError
        A family is unknown.
    ClusterError
        The cluster cannot be used, or what its workers wrote cannot be seen here.
    """
    families = [family] if isinstance(family, str) else list(family)
    for name in families:
        _check_family(name)
    settings = settings or FeatureSettings()
    start = time.perf_counter()
    stores = {name: _open_store(name, settings, cache or cache_home()) for name in families}
    keys = [_hash_file(path) for path in table["path"]]
    tables = {name: store.load_table(keys) for name, store in stores.items()}
    new = {name: store for name, store in stores.items() if tables[name] is None}
    jobs = []
    for key, path in dict(zip(keys, table["path"], strict=True)).items():
        missing = {name: store for name, store in new.items() if store.read(key) is None}
        if missing:
            jobs.append((path, key, missing, settings))
    label = ", ".join(families)
    for _ in map_clips(_fill_stores, jobs, n_jobs=n_jobs, label=label, scheduler=scheduler):
        pass  # each job keeps its own result
    try:
        tables |= {name: store.save_table(keys) for name, store in new.items()}
    except KeyError as error:
        raise ClusterError(
            f"features that were computed just now are not in {cache or cache_home()}: the "
            "workers need the same folder under the same name, or something is deleting it"
        ) from error
    fresh = {key for _, key, *_ in jobs}
    print(
        f"{label}: {len(table)} clips in {time.perf_counter() - start:.1f} s "
        f"({sum(key not in fresh for key in keys)} from the cache)"
    )
    found = {
        name: rows
        if name in FRAME_FAMILIES
        else pd.DataFrame(np.array(rows), table.index, _stored_names(name, stores[name].folder))
        for name, rows in tables.items()
    }
    return found[family] if isinstance(family, str) else found


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


def _fill_stores(job: tuple[str, str, dict[str, RowStore], FeatureSettings]) -> None:
    """Compute and keep the families of one clip that are missing."""
    path, key, stores, settings = job
    found = _compute(load_audio(path), stores, settings)
    for name, store in stores.items():
        values = found[name]
        store.write(key, list(values.values()) if isinstance(values, dict) else values)


def _open_store(family: str, settings: FeatureSettings, cache: Path) -> RowStore:
    folder = Path(cache) / f"{family}-{_settings_key(family, settings)}"
    if family in FRAME_FAMILIES:
        return RowStore(folder, (settings.n_frames, settings.n_bins(family)), "float16")
    return RowStore(folder, (len(_stored_names(family, folder)),), "float32")


def _settings_key(family: str, settings: FeatureSettings) -> str:
    """Short hash of all that the values of a family depend on besides the clip."""
    names = ["n_fft", "hop"]
    names += ["clip_s", "deltas"] if family in FRAME_FAMILIES else []
    names += ["n_mels", "range_db"] if family == "logmel" else []
    content = [f"{name}={getattr(settings, name)}" for name in names]
    content += [f"{name}={version(name)}" for name in ("librosa", "numpy", "scipy", "soxr")]
    # Their text stands for the formulas: an edited formula is a new key.
    content += [inspect.getsource(part) for part in (analysis, voice, fit_clip)]
    return hashlib.sha256("\n".join(content).encode()).hexdigest()[:12]


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


def _hash_file(path: str) -> str:
    if not os.path.isfile(path):
        load_audio(path)  # raises the error that explains what is there instead
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
