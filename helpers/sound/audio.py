"""Any recording in, one waveform out: float32, mono, 16 kHz, as loud as it was.

What a file is called does not matter, what is in it does. Whatever cannot be used raises
:class:`AudioError`; nothing is cut, padded, trimmed or made louder.
"""

from __future__ import annotations

import functools
import hashlib
import logging
import numbers
import os
from pathlib import Path
from typing import BinaryIO

import numpy as np
import soxr

from helpers.parts import split_part
from helpers.sound.decoders import AudioError, name_source, open_file, opened, read_blocks

SAMPLE_RATE = 16_000
LONGEST_S = 4 * 3600  # 0.9 GB as float32

_MIN_DURATION_S = 0.1
_SILENCE_PEAK = 1e-5  # a third of the smallest step of 16-bit sound
_MAX_PEAK = 4.0  # lossy decoders overshoot 1.0 a little; above this it is integers kept as float
_MIN_SOURCE_RATE, _MAX_SOURCE_RATE = 2_000, 768_000
_CANCELLED = 1e-3  # mean of the channels against one channel in power; unrelated ones give 1/n
_MAX_CHANNELS = 8
_LOG = logging.getLogger(__name__)


def load_audio(
    source: str | os.PathLike | bytes | bytearray | memoryview | BinaryIO,
    *,
    name: str | None = None,
    channel: int | None = None,
    longest_s: float = LONGEST_S,
) -> np.ndarray:
    """Decode a recording of any format, rate and number of channels: 16 kHz, mono.

    Channels are averaged. Where they cancel (one wired in reverse), the strongest one is taken
    alone and a warning logged, as is what could not be decoded. Loudness is never changed. Memory
    grows with the result only: a large file is read in blocks.

    Parameters
    ----------
    source : path, bytes-like, or binary file object
        A file object is read from its beginning, whatever its position, and left open. A path may
        name a part of a file, as in ``talk.wav#t=1.5,3`` (seconds), ``talk.wav#channel=1`` or
        ``talk.wav#t=1.5,3&channel=1``.
    name : str, optional
        How errors call the recording; its path by default.
    channel : int, optional
        This channel alone, from 0.
    longest_s : float
        A longer recording is refused before it fills the memory.

    Returns
    -------
    ndarray of float32, shape (n_samples,)
        Range about [-1, 1]; a float file may exceed it.

    Raises
    ------
    AudioError
        Missing, empty, not audio, damaged, without sound track, 0 samples, shorter than 0.1 s or
        longer than ``longest_s``, silent to the last bit, NaN or infinite samples, integers stored
        as float, no such channel, or a part that the recording does not have.

    Examples
    --------
    >>> import io, soundfile
    >>> file = io.BytesIO()
    >>> soundfile.write(file, np.eye(48_000, 2), 48_000, format="FLAC")
    >>> load_audio(file).shape
    (16000,)
    """
    y, notes = decode_audio(source, name=name, channel=channel, longest_s=longest_s)
    for note in notes:
        _LOG.warning("%s: %s", name or name_source(source), note)
    return y


def decode_audio(
    source: object,
    *,
    sr: int = SAMPLE_RATE,
    name: str | None = None,
    channel: int | None = None,
    longest_s: float = LONGEST_S,
) -> tuple[np.ndarray, list[str]]:
    """As :func:`load_audio`, at any rate, with what should be known of the decoding, in words."""
    part = split_part(source) if isinstance(source, str | os.PathLike) else None
    if part is None:
        with opened(source, name) as (file, label):
            return _mix_down(file, label, sr, channel, longest_s)
    path, start_s, end_s, index = part
    label = name or str(source)
    if not os.path.isfile(path):
        open_file(Path(path), label)  # raises the error that explains what is there instead
    # Usually the parts of one recording are asked for one after the other.
    index = channel if index is None else index
    whole, notes = _decode_whole(path, os.stat(path).st_mtime_ns, sr, index)
    duration_s = len(whole) / sr
    end_s = duration_s if end_s is None else end_s
    if end_s > duration_s + _MIN_DURATION_S:
        raise AudioError(
            label,
            f"a recording of {duration_s:.2f} s",
            f"expected one that lasts until {end_s:g} s. Correct start_s and end_s in the list.",
        )
    y = whole[round(start_s * sr) : round(end_s * sr)]
    _check_wave(y, sr, label)
    return y, notes


@functools.lru_cache(maxsize=1)
def _decode_whole(path: str, _changed: int, sr: int, channel: int | None):
    return decode_audio(Path(path), sr=sr, channel=channel)


def check_waveform(
    y: np.ndarray, *, sr: float = SAMPLE_RATE, name: str = "the sound"
) -> np.ndarray:
    """Waveform as float32, mono, 16 kHz; the gate for sound that comes as an array.

    Parameters
    ----------
    y : array of numbers, shape (n_samples,), (n_samples, channels) or (channels, n_samples)
        int16 and int32 are divided by their full scale, up to eight channels are averaged.
    sr : float
        Its sample rate in Hz.
    name : str
        How errors call it.

    Returns
    -------
    ndarray of float32, shape (n_samples,)

    Raises
    ------
    AudioError
        Another shape or type, an impossible sample rate, shorter than 0.1 s, silent, NaN or
        infinite samples, integers stored as float.

    Examples
    --------
    >>> check_waveform(np.tile([16384, -16384], 1000).astype("int16"))[:2]
    array([ 0.5, -0.5], dtype=float32)
    """
    try:
        y = np.asarray(y)
    except ValueError:  # a list of lists that are not equally long
        y = np.asarray(None)
    if y.dtype in (np.int16, np.int32):
        y = y / np.float32(-float(np.iinfo(y.dtype).min))
    if y.ndim == 2 and min(y.shape) <= _MAX_CHANNELS:
        y = y.mean(axis=int(np.argmin(y.shape)), dtype="float64")
    if y.dtype.kind != "f" or y.ndim != 1:
        raise AudioError(
            name,
            f"an array of {y.dtype}, shape {y.shape}",
            "expected one waveform of shape (n_samples,): float within ±1, int16 or int32.",
        )
    y = np.ascontiguousarray(y, dtype="float32")
    resampler = _make_resampler(sr, SAMPLE_RATE, name)
    _check_wave(y, sr, name)
    return resampler.resample_chunk(y, last=True) if resampler else y


def _check_wave(y: np.ndarray, sr: float, label: str) -> None:
    _check_length(len(y), sr, label)
    _check_samples(y, label, 0.0)
    _check_loudness(y.min(), y.max(), label)


def fit_clip(y: np.ndarray, n_samples: int) -> np.ndarray:
    """Pad with silence or crop ``y`` to ``n_samples``, keeping the stretch with most energy.

    Examples
    --------
    >>> fit_clip(np.array([0, 0, 1, 2, 0], dtype="float32"), 3)
    array([0., 1., 2.], dtype=float32)
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


def cut_frames(y: np.ndarray, size: int) -> np.ndarray:
    """Frames of ``size`` samples, one after the other; what is left at the end is not in them."""
    return y[: len(y) // size * size].reshape(-1, size)


def mean_power(y: np.ndarray) -> np.ndarray:
    """Mean square over the last axis, in double precision: of a waveform, or of each frame."""
    return np.mean(np.square(y, dtype=np.float64), axis=-1)


def hash_clip(path: str) -> str:
    """``sha256`` of a file's bytes, and of which part of it a clip is."""
    part = split_part(path)
    with open(part[0] if part else path, "rb") as file:
        sha256 = hashlib.file_digest(file, "sha256")
    if part:
        sha256.update(repr(part[1:]).encode())
    return sha256.hexdigest()


def _mix_down(
    file: BinaryIO, label: str, sr: int, channel: int | None, longest_s: float
) -> tuple[np.ndarray, list[str]]:
    """Mono waveform at ``sr``, and what should be known of its decoding."""
    resampler, frames = None, 0
    notes: list[str] = []
    sound = bytearray()  # it grows where it is: parts that are joined need twice the memory
    mix_power, power = 0.0, np.zeros(1)
    low, high = np.inf, -np.inf
    for rate, block in read_blocks(file, label, notes):
        if not frames:
            resampler = _make_resampler(rate, sr, label)
            if channel is not None and channel >= block.shape[1]:
                raise AudioError(
                    label,
                    f"{block.shape[1]} channels, counted from 0",
                    f"expected a channel {channel}. Choose another one, or none to average them.",
                )
        _check_samples(block, label, frames / rate)
        mono = block.mean(axis=1) if channel is None else block[:, channel]
        mix_power += float(np.dot(mono, mono))
        power = power + np.einsum("ij,ij->j", block, block)
        low, high = min(low, mono.min()), max(high, mono.max())
        frames += len(block)
        if frames > longest_s * rate:
            found = f"more than {longest_s / 60:g} minutes of sound"
            raise AudioError(label, found, "expected a shorter recording. Split it.")
        part = resampler.resample_chunk(mono) if resampler else mono
        sound += np.asarray(part, dtype="float32").tobytes()
    _check_length(frames, rate, label)
    if resampler:
        sound += resampler.resample_chunk(np.zeros(0, np.float32), last=True).tobytes()
    y = np.frombuffer(sound, dtype="float32")
    if channel is None and mix_power < _CANCELLED * power.mean():
        strongest = int(power.argmax())
        y, notes = _mix_down(file, label, sr, strongest, longest_s)
        return y, [*notes, f"channels cancel each other, used channel {strongest}"]
    _check_loudness(low, high, label)
    return y, notes


def _check_length(n_samples: int, sr: float, label: str) -> None:
    if n_samples < _MIN_DURATION_S * sr:
        raise AudioError(
            label,
            f"{1000 * n_samples / sr:.0f} ms of sound",
            f"expected at least {1000 * _MIN_DURATION_S:.0f} ms. Choose a longer recording.",
        )


def _check_loudness(low: float, high: float, label: str) -> None:
    if (high - low) / 2 < _SILENCE_PEAK:  # a constant is no sound either
        raise AudioError(
            label,
            f"digital silence (all samples from {low:.1e} to {high:.1e})",
            "expected sound. Check the microphone and its level, or leave the clip out.",
        )


def _make_resampler(rate: float, sr: int, label: str) -> soxr.ResampleStream | None:
    is_number = isinstance(rate, numbers.Real)
    if not (is_number and _MIN_SOURCE_RATE <= rate <= _MAX_SOURCE_RATE):
        raise AudioError(
            label,
            f"a sample rate of {rate} Hz",
            f"expected {_MIN_SOURCE_RATE} to {_MAX_SOURCE_RATE} Hz. Export it again.",
        )
    # Chunk by chunk it gives bit for bit what soxr.resample gives at once.
    return None if rate == sr else soxr.ResampleStream(rate, sr, 1, dtype="float32", quality="VHQ")


def _check_samples(block: np.ndarray, label: str, start_s: float) -> None:
    peak = np.max(np.abs(block))
    if not np.isfinite(peak):
        raise AudioError(
            label,
            f"NaN or infinite samples (in the block from {start_s:.1f} s)",
            "expected finite samples. The program that wrote it divided by zero: export it again.",
        )
    if peak > _MAX_PEAK:
        raise AudioError(
            label,
            f"samples up to {peak:.6g}",
            "expected about ±1. Integers were stored as float: divide by full scale, 32768.",
        )
