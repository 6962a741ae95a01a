"""Any recording in, one waveform out: float32, mono, 16 kHz, as loud as it was.

What a file is called does not matter, what is in it does. Whatever cannot be used raises
:class:`AudioError`; nothing is cut, padded, trimmed or made louder.
"""

from __future__ import annotations

import hashlib
import io
import logging
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import numpy as np
import soxr

from helpers.columns import MEASURED
from helpers.parallel import map_clips
from helpers.sound.decoders import AudioError, read_blocks

if TYPE_CHECKING:
    import pandas as pd

SAMPLE_RATE = 16_000

_MIN_DURATION_S = 0.1
_SILENCE_PEAK = 1e-5  # a third of the smallest step of 16-bit sound
_MAX_PEAK = 4.0  # lossy decoders overshoot 1.0 a little; above this it is integers kept as float
_MIN_SOURCE_RATE, _MAX_SOURCE_RATE = 2_000, 768_000
_CANCELLED = 1e-3  # mean of the channels against one channel in power; unrelated ones give 1/n
_IN_MEMORY_BYTES = 64 * 2**20
_LOG = logging.getLogger(__name__)


def load_audio(
    source: str | os.PathLike | bytes | bytearray | memoryview | BinaryIO,
    *,
    sr: int = SAMPLE_RATE,
    name: str | None = None,
) -> np.ndarray:
    """Decode a recording of any format, rate and number of channels to a mono waveform.

    Channels are averaged. Where they cancel (one wired in reverse), the strongest one is taken
    alone and a warning logged. Loudness is never changed. Memory grows with the result only:
    a large file is read in blocks.

    Parameters
    ----------
    source : path, bytes-like, or binary file object
        A file object is read from its beginning, whatever its position, and left open.
    sr : int
        Sample rate of the result in Hz.
    name : str, optional
        How errors call the recording; its path by default.

    Returns
    -------
    ndarray of float32, shape (n_samples,)
        Range about [-1, 1]; a float file may exceed it.

    Raises
    ------
    AudioError
        Missing, empty, not audio, cut off, damaged, without sound track, 0 samples, shorter than
        0.1 s, silent to the last bit, NaN or infinite samples, integers stored as float.

    Examples
    --------
    >>> import soundfile
    >>> file = io.BytesIO()
    >>> soundfile.write(file, np.eye(48_000, 2), 48_000, format="FLAC")
    >>> load_audio(file).shape
    (16000,)
    """
    with _opened(source, name) as (file, label):
        y, strongest = _mix_down(file, label, sr)
        if strongest is not None:
            _LOG.warning("%s: channels cancel each other, used channel %d", label, strongest)
            y, _ = _mix_down(file, label, sr, channel=strongest)
        return y


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


def inspect_clips(
    table: pd.DataFrame, *, scheduler: str | None = None
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Decode every clip of an utterance table once, in parallel; part the good from the bad.

    Parameters
    ----------
    table : DataFrame
        Utterance table; ``path``, ``corpus`` and ``emotion`` are read.
    scheduler : str, optional
        Address of a Dask scheduler, as for :func:`helpers.parallel.map_clips`.

    Returns
    -------
    good : DataFrame
        The usable rows with ``duration_s``, ``peak_dbfs``, ``rms_dbfs``, ``noise_dbfs`` (its
        floor; 0 dBFS is 1.0), ``band_hz`` (highest frequency; all of the 16 kHz waveform) and
        ``sha256`` (of the file's bytes), index 0 … n-1.
    rejected : DataFrame
        Columns ``path corpus emotion error``, one row per clip that cannot be used.
    """
    import pandas as pd  # not above: the processes that read clips start sooner without it

    table = table.reset_index(drop=True)
    clips = map_clips(_inspect, table["path"], label="Reading clips", scheduler=scheduler)
    measured = pd.DataFrame(list(clips), columns=_MEASURED)
    bad = measured["error"] != ""
    good = table[~bad].assign(**measured.loc[~bad, _MEASURED[:-1]]).reset_index(drop=True)
    rejected = table.loc[bad, ["path", "corpus", "emotion"]].assign(error=measured["error"][bad])
    if len(rejected):
        _LOG.warning("left out %d of %d clips that cannot be used", len(rejected), len(table))
    return good, rejected.reset_index(drop=True)


_MEASURED = [*MEASURED, "error"]


def _inspect(path: str) -> tuple[float, float, float, float, float, str, str]:
    try:
        with _opened(path, None) as (file, _):
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
            y = load_audio(file, name=path)
        peak = 20 * np.log10(float(np.max(np.abs(y))))
        power = 10 * np.log10(float(mean_power(y)))
        return len(y) / SAMPLE_RATE, peak, power, *_noise_and_band(y), sha256, ""
    except Exception as error:  # reported in the table: one bad clip must not stop thousands
        text = str(error) if isinstance(error, AudioError) else f"{path}: {error!r}"
        return *[np.nan] * 5, "", text


def _noise_and_band(y: np.ndarray) -> tuple[float, float]:
    """Noise floor in dBFS and the highest frequency in Hz that is there.

    The floor is the level that a twentieth of the 25 ms frames stay below (digital silence reads
    -120), the band ends where the mean spectrum falls 60 dB below its strongest bin.
    """
    size = SAMPLE_RATE // 40
    frames = cut_frames(y, size)
    noise = 10 * np.log10(np.quantile(mean_power(frames), 0.05) + 1e-12)
    spectrum = _mean_spectrum(frames)
    if not spectrum.any():  # all sound is behind the last frame, or where the window is 0
        padded = np.pad(y, size)
        overlapping = np.lib.stride_tricks.sliding_window_view(padded, size)[:: size // 2]
        spectrum = _mean_spectrum(overlapping)
    there = np.flatnonzero(spectrum > 1e-6 * spectrum.max())
    return float(noise), float(there[-1] * SAMPLE_RATE / size)


def _mean_spectrum(frames: np.ndarray) -> np.ndarray:
    window = np.hanning(frames.shape[1])
    return np.square(np.abs(np.fft.rfft(frames * window))).mean(axis=0)


@contextmanager
def _opened(source: object, name: str | None) -> Iterator[tuple[BinaryIO, str]]:
    """Seekable binary file and how to call it, for whatever :func:`load_audio` takes."""
    if isinstance(source, bytes | bytearray | memoryview):
        label, opened = name or "<bytes>", io.BytesIO(source)
    elif hasattr(source, "read"):
        label = name or str(getattr(source, "name", "<file object>"))
        opened = nullcontext(source) if source.seekable() else io.BytesIO(source.read())
    else:
        label = name or os.fsdecode(source)
        opened = _open_path(Path(os.fsdecode(source)), label)
    with opened as file:
        if not file.seek(0, os.SEEK_END):
            raise AudioError(
                label, "an empty file (0 bytes)", "a recording", "Copy or record it again."
            )
        file.seek(0)
        yield file, label


def _open_path(path: Path, label: str) -> BinaryIO:
    try:
        status = path.stat()
        if stat.S_ISREG(status.st_mode):
            # In memory, decoding is quicker.
            small = status.st_size <= _IN_MEMORY_BYTES
            return io.BytesIO(path.read_bytes()) if small else path.open("rb")
        # A device or pipe could go on for ever.
        found = "a folder" if stat.S_ISDIR(status.st_mode) else "no regular file"
        remedy = "Name a file."
    except FileNotFoundError:
        found, remedy = "nothing there", "Check the spelling and the folder."
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        found, remedy = f"an unreadable file ({error})", "Check its permissions."
    raise AudioError(label, found, "a recording", remedy)


def _mix_down(
    file: BinaryIO, label: str, sr: int, *, channel: int | None = None
) -> tuple[np.ndarray, int | None]:
    """Mono waveform at ``sr``, and the strongest channel if the channels cancel each other."""
    resampler, frames, parts = None, 0, []
    mix_power, power = 0.0, np.zeros(1)
    low, high = np.inf, -np.inf
    for rate, block in read_blocks(file, label):
        if not frames:
            resampler = _make_resampler(rate, sr, label)
        _check_samples(block, label, frames / rate)
        mono = block.mean(axis=1) if channel is None else block[:, channel]
        mix_power += float(np.dot(mono, mono))
        power = power + np.einsum("ij,ij->j", block, block)
        low, high = min(low, mono.min()), max(high, mono.max())
        frames += len(block)
        parts.append(resampler.resample_chunk(mono) if resampler else mono)
    if frames < _MIN_DURATION_S * rate:
        raise AudioError(
            label,
            f"{1000 * frames / rate:.0f} ms of sound",
            f"at least {1000 * _MIN_DURATION_S:.0f} ms",
            "Choose a longer recording.",
        )
    if resampler:
        parts.append(resampler.resample_chunk(np.zeros(0, np.float32), last=True))
    y = np.ascontiguousarray(np.concatenate(parts), dtype=np.float32)
    if channel is None and mix_power < _CANCELLED * power.mean():
        return y, int(power.argmax())
    if (high - low) / 2 < _SILENCE_PEAK:  # a constant is no sound either
        raise AudioError(
            label,
            f"digital silence (all samples from {low:.1e} to {high:.1e})",
            "sound",
            "Check the microphone and its level, or leave the clip out.",
        )
    return y, None


def _make_resampler(rate: int, sr: int, label: str) -> soxr.ResampleStream | None:
    if not _MIN_SOURCE_RATE <= rate <= _MAX_SOURCE_RATE:
        raise AudioError(
            label,
            f"a sample rate of {rate} Hz",
            f"{_MIN_SOURCE_RATE} to {_MAX_SOURCE_RATE} Hz",
            "Its header is probably damaged: export it again.",
        )
    # Chunk by chunk it gives bit for bit what soxr.resample gives at once.
    return None if rate == sr else soxr.ResampleStream(rate, sr, 1, dtype="float32", quality="VHQ")


def _check_samples(block: np.ndarray, label: str, start_s: float) -> None:
    peak = np.max(np.abs(block))
    if not np.isfinite(peak):
        raise AudioError(
            label,
            f"NaN or infinite samples (in the block from {start_s:.1f} s)",
            "finite samples",
            "The program that wrote it divided by zero or overflowed: export it again.",
        )
    if peak > _MAX_PEAK:
        raise AudioError(
            label,
            f"samples up to {peak:.6g}",
            "samples within about ±1",
            "Integers were stored as float: divide by full scale (32768 for 16 bit) first.",
        )
