"""From recordings to feature tables: one clip or a whole corpus, in parallel and cached.

The formulas are in :mod:`helpers.analysis`. The log-mel is the one that the saved model computes
inside itself, so that training and prediction see the same picture.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
import time
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pandas as pd

from helpers import analysis
from helpers.analysis import FAMILIES, FRAME_FAMILIES, Analysis, FeatureSettings
from helpers.audio import SAMPLE_RATE, load_audio
from helpers.runs import atomic_write, cache_home


def fit_clip(y: np.ndarray, n_samples: int) -> np.ndarray:
    """Pad with silence or crop to ``n_samples``, keeping the stretch that holds most energy.

    Parameters
    ----------
    y : np.ndarray, shape (n,)
        Waveform.
    n_samples : int
        Wanted length.

    Returns
    -------
    np.ndarray, shape (n_samples,)

    Examples
    --------
    >>> fit_clip(np.array([0, 0, 1, 2, 0], dtype="float32"), 3)
    array([0., 1., 2.], dtype=float32)
    >>> fit_clip(np.ones(2, dtype="float32"), 4)
    array([0., 1., 1., 0.], dtype=float32)
    """
    missing = n_samples - len(y)
    if missing >= 0:
        return np.pad(y, (missing // 2, missing - missing // 2))
    energy = np.concatenate([[0.0], np.cumsum(y.astype("float64") ** 2)])
    window = energy[n_samples:] - energy[:-n_samples]
    # The middle of all best starts, so that silence is shared by both ends.
    best = np.flatnonzero(window >= window.max() * (1 - 1e-6))
    start = int(best[(len(best) - 1) // 2])
    return y[start : start + n_samples]


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
    if family not in FAMILIES:
        raise ValueError(f"feature family {family!r}: expected one of {', '.join(FAMILIES)}")
    settings = settings or FeatureSettings()
    if family in FRAME_FAMILIES:
        y = fit_clip(y, settings.n_samples)
    return FAMILIES[family](Analysis(y, settings))


def extract_features(
    table: pd.DataFrame,
    *,
    family: str,
    settings: FeatureSettings | None = None,
    n_jobs: int = -1,
    cache: Path | None = None,
) -> np.ndarray | pd.DataFrame:
    """Features of every clip of an utterance table, in parallel and cached.

    The cache is keyed by the content of the file, the settings and the library versions, so a
    moved corpus is not computed again and a changed setting is. A damaged entry is rebuilt. Frames
    are kept, and returned, at half precision (about 0.05 %): half the disk.

    Parameters
    ----------
    table : pd.DataFrame
        Utterance table; only ``path`` is read.
    family : str
        One of :data:`FAMILIES`.
    settings : FeatureSettings, optional
    n_jobs : int, default=-1
        Processes; -1 for one a core.
    cache : Path, optional
        Cache folder; ``outputs/.cache`` by default.

    Returns
    -------
    np.ndarray, shape (n_clips, n_frames, n_bins), float32
        For a frame family.
    pd.DataFrame, shape (n_clips, n_columns), float32
        For a clip family, indexed as ``table``.

    Raises
    ------
    AudioError
        A clip cannot be decoded (``inspect_clips`` leaves such clips out beforehand).
    """
    from joblib import Parallel, delayed
    from tqdm import tqdm

    if family not in FAMILIES:
        raise ValueError(f"feature family {family!r}: expected one of {', '.join(FAMILIES)}")
    settings = settings or FeatureSettings()
    folder = Path(cache or cache_home()) / f"{family}-{_settings_key(settings)}"
    start = time.perf_counter()
    names = _stored_names(family, folder)
    frames = family in FRAME_FAMILIES
    shape = (settings.n_frames, settings.n_bins(family)) if frames else (len(names),)
    values = np.zeros((len(table), *shape), dtype="float32")
    missing = []
    for row, path in enumerate(table["path"]):
        stored = _read_entry(_entry(path, folder), shape)
        if stored is None:
            missing.append(row)
        else:
            values[row] = stored
    # A pool costs seconds to start; a handful of clips is quicker here.
    parallel = Parallel(n_jobs=n_jobs if len(missing) > 16 else 1, return_as="generator")
    paths = table["path"].iloc[missing]
    jobs = parallel(delayed(_fill_entry)(path, family, settings, folder) for path in paths)
    quiet = not sys.stderr.isatty()
    bar = tqdm(jobs, total=len(missing), desc=family, unit="clip", disable=quiet)
    for row, found in zip(missing, bar, strict=True):
        values[row] = found
    print(
        f"{family}: {len(table)} clips in {time.perf_counter() - start:.1f} s "
        f"({len(table) - len(missing)} from the cache)"
    )
    return values if frames else pd.DataFrame(values, columns=names, index=table.index)


def feature_names(family: str) -> list[str]:
    """Column names of a clip family, in order."""
    noise = np.random.default_rng(0).normal(size=SAMPLE_RATE).astype("float32") / 10
    return list(compute_features(noise, family=family))


def measure_effects(features: pd.DataFrame, groupings: dict[str, pd.Series]) -> pd.DataFrame:
    """Share of each column's variance that a grouping explains (η², one-way).

    Parameters
    ----------
    features : pd.DataFrame, shape (n_clips, n_columns)
    groupings : dict of str to pd.Series
        Such as ``{"emotion": …, "speaker": …}``, indexed as ``features``.

    Returns
    -------
    pd.DataFrame
        A row a feature column, a column a grouping, values in 0 … 1; 0 for a constant column.

    Examples
    --------
    >>> pitch = pd.DataFrame({"f0_mean": [100.0, 110.0, 200.0, 210.0]})
    >>> measure_effects(pitch, {"sex": pd.Series(["m", "m", "f", "f"])}).round(2)
              sex
    f0_mean  0.99
    """
    # In double precision, and with the leftovers of rounding in a constant column set to 0.
    centred = features.astype("float64") - features.astype("float64").mean()
    centred = centred.where(centred.abs() > 1e-9 * features.abs().max(), 0.0)
    total = (centred**2).sum()
    return pd.DataFrame(
        {
            name: (centred.groupby(labels).transform("mean") ** 2).sum() / total.where(total > 0, 1)
            for name, labels in groupings.items()
        }
    )


def _settings_key(settings: FeatureSettings) -> str:
    content = json.dumps(asdict(settings), sort_keys=True) + version("librosa") + version("numpy")
    # The modules' text stands for the formulas: an edited formula is a new key.
    for module in (analysis.__file__, __file__):
        content += Path(module).read_text(encoding="utf-8")
    return hashlib.sha256(content.encode()).hexdigest()[:12]


def _stored_names(family: str, folder: Path) -> list[str]:
    """Column names of a clip family; kept in the cache, since asking librosa takes seconds."""
    if family in FRAME_FAMILIES:
        return []
    path = folder / "columns.json"
    try:
        return list(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError):
        names = feature_names(family)
    with atomic_write(path) as temporary:
        temporary.write_text(json.dumps(names), encoding="utf-8")
    return names


def _entry(path: str, folder: Path) -> Path:
    """Where the features of a file are kept, by the file's content."""
    if not os.path.isfile(path):
        load_audio(path)  # raises the error that explains what is there instead
    key = hashlib.sha256(Path(path).read_bytes()).hexdigest()
    return folder / key[:2] / f"{key}.npy"


def _read_entry(entry: Path, shape: tuple[int, ...]) -> np.ndarray | None:
    """Features from the cache; None if they are not there yet, or damaged."""
    try:
        # Mapped: a damaged header that claims too much is an error, not memory.
        stored = np.lib.format.open_memmap(entry, mode="r")
    except (OSError, ValueError, TypeError):
        return None
    whole = stored.shape == shape and stored.dtype.kind == "f" and np.isfinite(stored).all()
    return np.array(stored) if whole else None


def _fill_entry(path: str, family: str, settings: FeatureSettings, folder: Path) -> np.ndarray:
    """Compute one clip's features and keep them."""
    found = compute_features(load_audio(path), family=family, settings=settings)
    if isinstance(found, dict):
        values = np.asarray(list(found.values()), dtype="float32")
    else:
        values = found.astype("float16")
    with atomic_write(_entry(path, folder)) as temporary:
        np.save(temporary, values)
    return values
