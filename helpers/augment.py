"""Named augmentations with units, for the training side only.

The five of seed 001 (noise, time stretch, pitch shift, time shift, gain) come from audiomentations;
SpecAugment works on the log-mel.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np

from helpers.audio import SAMPLE_RATE


@contextmanager
def _global_seeds(rng: np.random.Generator) -> Iterator[None]:
    """Seed the global generators that audiomentations draws from, and put them back after."""
    before = random.getstate(), np.random.get_state()
    random.seed(int(rng.integers(2**32)))
    np.random.seed(int(rng.integers(2**32)))
    try:
        yield
    finally:
        random.setstate(before[0])
        np.random.set_state(before[1])


def _apply(transform, y: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    with _global_seeds(rng):
        # A copy: the stretcher refuses arrays that are read-only, as a memory-mapped one is.
        return transform(samples=np.array(y, dtype="float32"), sample_rate=SAMPLE_RATE)


def add_noise(y: np.ndarray, rng: np.random.Generator, *, snr_db: float = 15.0) -> np.ndarray:
    """Add white noise at a signal-to-noise ratio in dB.

    Parameters
    ----------
    y : np.ndarray, shape (n,), float32
        Waveform at 16 kHz.
    rng : np.random.Generator
    snr_db : float
        Power of the clip over power of the noise.

    Returns
    -------
    np.ndarray, shape (n,), float32
    """
    from audiomentations import AddGaussianSNR

    return _apply(AddGaussianSNR(min_snr_db=snr_db, max_snr_db=snr_db, p=1), y, rng)


def stretch_time(y: np.ndarray, rng: np.random.Generator, *, rate: float = 1.2) -> np.ndarray:
    """Speak ``rate`` times as fast at the same pitch; the clip becomes shorter or longer."""
    from audiomentations import TimeStretch

    transform = TimeStretch(min_rate=rate, max_rate=rate, leave_length_unchanged=False, p=1)
    return _apply(transform, y, rng)


def shift_pitch(y: np.ndarray, rng: np.random.Generator, *, semitones: float = 2.0) -> np.ndarray:
    """Raise (or lower) the pitch at the same tempo."""
    from audiomentations import PitchShift

    return _apply(PitchShift(min_semitones=semitones, max_semitones=semitones, p=1), y, rng)


def shift_time(y: np.ndarray, rng: np.random.Generator, *, shift_s: float = 0.2) -> np.ndarray:
    """Move the clip later (or earlier), filling with silence."""
    from audiomentations import Shift

    transform = Shift(
        min_shift=shift_s, max_shift=shift_s, shift_unit="seconds", rollover=False, p=1
    )
    return _apply(transform, y, rng)


def change_gain(y: np.ndarray, rng: np.random.Generator, *, gain_db: float = -6.0) -> np.ndarray:
    """Make the clip louder or softer by ``gain_db``."""
    from audiomentations import Gain

    return _apply(Gain(min_gain_db=gain_db, max_gain_db=gain_db, p=1), y, rng)


#: The five augmentations of seed 001 by name, each ``(y, rng, **amount) -> y``.
AUGMENTATIONS: dict[str, Callable[..., np.ndarray]] = {
    "noise": add_noise,
    "time stretch": stretch_time,
    "pitch shift": shift_pitch,
    "time shift": shift_time,
    "gain": change_gain,
}


def mask_spectrogram(
    frames: np.ndarray,
    rng: np.random.Generator,
    *,
    max_frames: int = 20,
    max_bins: int = 8,
    n_masks: int = 2,
) -> np.ndarray:
    """SpecAugment: blank random stretches of time and bands of frequency.

    Parameters
    ----------
    frames : np.ndarray, shape (n_frames, n_bins)
    rng : np.random.Generator
    max_frames, max_bins : int
        Longest stretch and widest band, drawn uniformly from 0.
    n_masks : int
        So many of each.

    Returns
    -------
    np.ndarray, shape (n_frames, n_bins)
        A copy, masked with the clip's mean (Park et al. 2019, arXiv 1904.08779).

    Examples
    --------
    >>> frames = np.arange(200.0).reshape(20, 10)
    >>> masked = mask_spectrogram(frames, np.random.default_rng(0), max_frames=4, max_bins=3)
    >>> masked.shape, bool((masked != frames).any())
    ((20, 10), True)
    """
    frames = frames.copy()
    n_frames, n_bins = frames.shape
    fill = frames.mean()
    for _ in range(n_masks):
        width = rng.integers(min(max_frames, n_frames) + 1)
        start = rng.integers(n_frames - width + 1)
        frames[start : start + width] = fill
        width = rng.integers(min(max_bins, n_bins) + 1)
        start = rng.integers(n_bins - width + 1)
        frames[:, start : start + width] = fill
    return frames


def augment_frames(
    batch: np.ndarray,
    rng: np.random.Generator,
    *,
    max_shift: float = 25.0,
    max_stretch: float = 0.15,
    max_bins: float = 2.5,
) -> np.ndarray:
    """Draw a new version of every log-mel picture of a training batch.

    Each is stretched or squeezed in time, moved in time, moved along the mel bands (a voice a
    little higher or lower), by fractions of a frame or band too, and masked as in SpecAugment.
    What enters in time is silence (0).

    Parameters
    ----------
    batch : np.ndarray, shape (n, n_frames, n_bins), float32
    rng : np.random.Generator
    max_shift : float
        Frames.
    max_stretch : float
        Logarithm of the largest factor.
    max_bins : float
        Mel bands.

    Returns
    -------
    np.ndarray, same shape
    """
    n, n_frames, n_bins = batch.shape
    rate = np.exp(rng.uniform(-max_stretch, max_stretch, (n, 1)))
    shift = rng.uniform(-max_shift, max_shift, (n, 1))
    middle = (n_frames - 1) / 2
    frame = (np.arange(n_frames) - middle) * rate + middle - shift
    band = np.arange(n_bins) - rng.uniform(-max_bins, max_bins, (n, 1))
    inside = (frame >= 0) & (frame <= n_frames - 1)
    moved = _read_between(batch, frame) * inside[:, :, None].astype("float32")
    moved = _read_between(moved.transpose(0, 2, 1), band).transpose(0, 2, 1)
    return np.stack([mask_spectrogram(picture, rng) for picture in moved])


def _read_between(rows: np.ndarray, place: np.ndarray) -> np.ndarray:
    """Rows of each array at fractional places, shape (n, n_places, …); held at the ends."""
    place = np.clip(place, 0, rows.shape[1] - 1)
    below = np.minimum(place.astype(int), max(rows.shape[1] - 2, 0))
    share = (place - below).astype("float32")[:, :, None]
    above, item = np.minimum(below + 1, rows.shape[1] - 1), np.arange(len(rows))[:, None]
    return rows[item, below] * (1 - share) + rows[item, above] * share
