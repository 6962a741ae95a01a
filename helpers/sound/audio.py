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
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import numpy as np
import soxr

from helpers.errors import UserError
from helpers.parallel import map_clips
from helpers.sound import containers, decoders

if TYPE_CHECKING:
    import pandas as pd

SAMPLE_RATE = 16_000
MIN_DURATION_S = 0.1
SILENCE_PEAK = 1e-5  # a third of the smallest step of 16-bit sound
MAX_PEAK = 4.0  # lossy decoders overshoot 1.0 a little; above this it is integers kept as float
MIN_SOURCE_RATE, MAX_SOURCE_RATE = 2_000, 768_000

_CANCELLED = 1e-3  # mean of the channels against one channel in power; unrelated ones give 1/n
_IN_MEMORY_BYTES = 64 * 2**20
_FORMATS = "WAV, FLAC, MP3, OGG, Opus, AIFF, CAF, AAC, M4A, MP4, 3GP, WebM, WMA"
_LOG = logging.getLogger(__name__)


class AudioError(UserError):
    """A recording cannot be used.

    Attributes
    ----------
    file : str
        Which one.
    found, expected, remedy : str
        What it is, what it should be, what to do about it.

    Examples
    --------
    >>> print(AudioError("a.wav", "0 bytes", "a recording", "Copy it again."))
    a.wav: found 0 bytes; expected a recording. Copy it again.
    """

    def __init__(self, file: str, found: str, expected: str, remedy: str) -> None:
        super().__init__(file, found, expected, remedy)  # all in args: it crosses processes
        self.file, self.found, self.expected, self.remedy = file, found, expected, remedy

    def __str__(self) -> str:
        return f"{self.file}: found {self.found}; expected {self.expected}. {self.remedy}"


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
    >>> noise = np.random.default_rng(0).normal(0, 0.1, (48_000, 2))
    >>> soundfile.write(file, noise, 48_000, format="FLAC")
    >>> load_audio(file).shape
    (16000,)
    """
    if sr <= 0:
        raise ValueError(f"sr={sr}: expected a positive number of samples a second")
    with _opened(source, name) as (file, label):
        missing = containers.missing_part(file)
        if missing:
            raise _cut_off(label, missing)
        return _decode(file, label, sr)


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


def inspect_clips(
    table: pd.DataFrame, *, n_jobs: int = -1, scheduler: str | None = None
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Decode every clip of an utterance table once, in parallel; part the good from the bad.

    Parameters
    ----------
    table : DataFrame
        Utterance table; ``path``, ``corpus`` and ``emotion`` are read.
    n_jobs : int
        Processes, -1 for one a core.
    scheduler : str, optional
        Address of a Dask scheduler, as for :func:`helpers.parallel.map_clips`.

    Returns
    -------
    good : DataFrame
        The usable rows with ``duration_s``, ``peak_dbfs``, ``rms_dbfs``, ``noise_dbfs`` (its
        floor; 0 dBFS is 1.0), ``band_hz`` (highest frequency; all of the 16 kHz waveform) and
        ``sha256`` (of the file's bytes), index 0 … n-1.
    rejected : DataFrame
        Columns ``path corpus emotion error``, a row a clip that :func:`load_audio` refuses.

    Examples
    --------
    >>> import pandas as pd
    >>> clips = pd.DataFrame({"path": ["/none.wav"], "corpus": ["own"], "emotion": ["sad"]})
    >>> good, rejected = inspect_clips(clips)
    >>> len(good), rejected.loc[0, "error"][:23]
    (0, '/none.wav: found nothin')
    """
    import pandas as pd  # not above: the processes that read clips start sooner without it

    table = table.reset_index(drop=True)
    clips = map_clips(
        _inspect, table["path"], n_jobs=n_jobs, label="Reading clips", scheduler=scheduler
    )
    measured = pd.DataFrame(list(clips), columns=_MEASURED)
    bad = measured["error"] != ""
    good = table[~bad].assign(**measured.loc[~bad, _MEASURED[:-1]]).reset_index(drop=True)
    rejected = table.loc[bad, ["path", "corpus", "emotion"]].assign(error=measured["error"][bad])
    if len(rejected):
        _LOG.warning("left out %d of %d clips that cannot be used", len(rejected), len(table))
    return good, rejected.reset_index(drop=True)


_MEASURED = ["duration_s", "peak_dbfs", "rms_dbfs", "noise_dbfs", "band_hz", "sha256", "error"]


def _inspect(path: str) -> tuple[float, float, float, float, float, str, str]:
    try:
        with _opened(path, None) as (file, _):
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
            y = load_audio(file, name=path)
    except Exception as error:  # reported in the table: one bad clip must not stop thousands
        text = str(error) if isinstance(error, AudioError) else f"{path}: {error!r}"
        return *[np.nan] * 5, "", text
    power = float(np.mean(np.square(y, dtype=np.float64)))
    peak = float(np.max(np.abs(y)))
    levels = 20 * np.log10(peak), 10 * np.log10(power), *_noise_and_band(y)
    return len(y) / SAMPLE_RATE, *levels, sha256, ""


def _noise_and_band(y: np.ndarray) -> tuple[float, float]:
    """Noise floor in dBFS and the highest frequency in Hz that is there.

    The floor is the level that a twentieth of the 25 ms frames stay below (digital silence reads
    -120), the band ends where the mean spectrum falls 60 dB below its strongest bin.
    """
    size = SAMPLE_RATE // 40
    frames = y[: len(y) // size * size].reshape(-1, size)
    power = np.mean(np.square(frames, dtype=np.float64), axis=1)
    noise = 10 * np.log10(np.quantile(power, 0.05) + 1e-12)
    spectrum = np.square(np.abs(np.fft.rfft(frames * np.hanning(size)))).mean(axis=0)
    there = np.flatnonzero(spectrum > 1e-6 * spectrum.max())
    return float(noise), float(there[-1] * SAMPLE_RATE / size)


@contextmanager
def _opened(source: object, name: str | None) -> Iterator[tuple[BinaryIO, str]]:
    """Seekable binary file and how to call it, for whatever :func:`load_audio` takes."""
    if isinstance(source, bytes | bytearray | memoryview):
        label, file = name or "<bytes>", io.BytesIO(source)
    elif hasattr(source, "read"):
        label = name or str(getattr(source, "name", "<file object>"))
        file = _seekable(source, label)
    else:
        path = Path(os.fsdecode(source))
        label = name or str(path)
        with _open_path(path, label) as file:
            yield file, label
        return
    if not file.seek(0, os.SEEK_END):
        raise _empty(label)
    file.seek(0)
    yield file, label


def _open_path(path: Path, label: str) -> BinaryIO:
    try:
        status = path.stat()
        if stat.S_ISDIR(status.st_mode):
            raise AudioError(label, "a folder", "a file", "Name the recordings in it.")
        if not stat.S_ISREG(status.st_mode):  # a device or pipe could go on for ever
            raise AudioError(label, "no regular file", "a recording", "Save it to a file first.")
        if status.st_size == 0:
            raise _empty(label)
        if status.st_size > _IN_MEMORY_BYTES:
            return path.open("rb")
        return io.BytesIO(path.read_bytes())
    except FileNotFoundError as error:
        raise AudioError(
            label, "nothing there", "a recording", "Check the spelling and the folder."
        ) from error
    except (OSError, ValueError) as error:
        if isinstance(error, AudioError):
            raise
        raise AudioError(
            label, f"an unreadable file ({error})", "a recording", "Check its permissions."
        ) from error


def _seekable(source: BinaryIO, label: str) -> BinaryIO:
    if isinstance(source, io.TextIOBase):
        raise AudioError(
            label, "a file opened as text", "a binary file object", 'Open it with mode "rb".'
        )
    if hasattr(source, "seekable") and source.seekable():
        return source
    return io.BytesIO(source.read())


def _decode(file: BinaryIO, label: str, sr: int) -> np.ndarray:
    reasons = []
    for blocks in decoders.READERS:
        try:
            y, strongest = _downmix(blocks(file), label, sr)
            if strongest is not None:
                _LOG.warning("%s: channels cancel each other, used channel %d", label, strongest)
                y, _ = _downmix(blocks(file), label, sr, channel=strongest)
        except decoders.UnreadableError as error:
            reasons.append(str(error))
        except decoders.CutOffError as error:
            raise _cut_off(label, str(error)) from error
        else:
            return y
    kind = containers.sniff(file)
    if kind:
        found = f"{kind.upper()} data that no reader takes ({reasons[-1]})"
        remedy = "It is cut off or damaged: copy or record it again."
    else:
        found = containers.describe(file)
        remedy = "Check where the file comes from, or convert it, for example to WAV."
    raise AudioError(label, found, f"a recording ({_FORMATS})", remedy)


def _downmix(
    blocks: Iterator[tuple[int, np.ndarray]], label: str, sr: int, *, channel: int | None = None
) -> tuple[np.ndarray, int | None]:
    """Mono waveform at ``sr``, and the strongest channel if the channels cancel each other."""
    rate, frames, parts, resampler = None, 0, [], None
    mix_power, power, low, high = 0.0, np.zeros(1), np.inf, -np.inf
    for block_rate, block in blocks:
        if rate is None:
            rate, power = block_rate, np.zeros(block.shape[1])
            resampler = _resampler(rate, sr, label)
        if (block_rate, block.shape[1]) != (rate, len(power)):
            raise AudioError(
                label,
                "a sample rate or number of channels that changes on the way",
                "one rate throughout",
                "Convert it, for example to WAV.",
            )
        _check_samples(block, label, frames / rate)
        mono = block.mean(axis=1) if channel is None else block[:, channel]
        mix_power += float(np.dot(mono, mono))
        power += np.einsum("ij,ij->j", block, block)
        low, high = min(low, mono.min()), max(high, mono.max())
        frames += len(block)
        parts.append(resampler.resample_chunk(mono) if resampler else mono)
    if not frames:
        raise AudioError(label, "0 samples", "a recording", "Record or copy it again.")
    if frames < MIN_DURATION_S * rate:
        raise AudioError(
            label,
            f"{1000 * frames / rate:.0f} ms of sound",
            f"at least {1000 * MIN_DURATION_S:.0f} ms",
            "Choose a longer recording.",
        )
    if resampler:
        parts.append(resampler.resample_chunk(np.zeros(0, np.float32), last=True))
    y = np.ascontiguousarray(np.concatenate(parts), dtype=np.float32)
    if channel is None and mix_power < _CANCELLED * power.mean():
        return y, int(power.argmax())
    if (high - low) / 2 < SILENCE_PEAK:  # a constant is no sound either
        raise AudioError(
            label,
            f"digital silence (all samples from {low:.1e} to {high:.1e})",
            "sound",
            "Check the microphone and its level, or leave the clip out.",
        )
    return y, None


def _resampler(rate: int, sr: int, label: str) -> soxr.ResampleStream | None:
    if not MIN_SOURCE_RATE <= rate <= MAX_SOURCE_RATE:
        raise AudioError(
            label,
            f"a sample rate of {rate} Hz",
            f"{MIN_SOURCE_RATE} to {MAX_SOURCE_RATE} Hz",
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
    if peak > MAX_PEAK:
        raise AudioError(
            label,
            f"samples up to {peak:.6g}",
            "samples within about ±1",
            "Integers were stored as float: divide by full scale (32768 for 16 bit) first.",
        )


def _cut_off(label: str, missing: str) -> AudioError:
    return AudioError(
        label, missing, "a complete recording", "It is cut off: copy or download it again."
    )


def _empty(label: str) -> AudioError:
    return AudioError(label, "an empty file (0 bytes)", "a recording", "Copy or record it again.")
