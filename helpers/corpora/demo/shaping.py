"""From the synthesizer's samples to a clip on disk: voice quality, room, file formats."""

from __future__ import annotations

import io
import zlib
from pathlib import Path

import numpy as np

_MIRRORED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


def trim(y: np.ndarray) -> np.ndarray:
    """Cut off the digital silence before and after the speech."""
    loud = np.flatnonzero(np.abs(y) > 0.005)
    return y[loud[0] : loud[-1] + 1]


def wobble(y: np.ndarray, sr: int, *, depth: float, hz: float, phase: float) -> np.ndarray:
    """Raise and lower the pitch by the part ``depth``, ``hz`` times a second.

    Examples
    --------
    >>> y = np.sin(np.arange(2000) / 10)
    >>> bool(np.allclose(wobble(y, 16_000, depth=0, hz=7, phase=0), y))
    True
    """
    from scipy.ndimage import map_coordinates

    t = np.arange(len(y)) / sr
    # Reading at t + d(t) multiplies the pitch by 1 + d'(t).
    warped = t + depth / (2 * np.pi * hz) * np.sin(2 * np.pi * hz * t + phase)
    return map_coordinates(y, [warped * sr], order=3, mode="nearest")


def tilt(y: np.ndarray, sr: int, *, db_per_octave: float) -> np.ndarray:
    """Brighten or dull the sound: a straight slope from 100 Hz to 8 kHz, 0 dB at 1 kHz."""
    from scipy.fft import irfft, next_fast_len, rfft, rfftfreq

    n = next_fast_len(len(y), real=True)
    octaves = np.log2(rfftfreq(n, 1 / sr).clip(100, 8000) / 1000)
    return irfft(rfft(y, n) * 10 ** (db_per_octave * octaves / 20), n)[: len(y)]


def record(
    y: np.ndarray, sr: int, *, to_sr: int, level_dbfs: float, rng: np.random.Generator
) -> np.ndarray:
    """Resample, set the RMS level, and put 50 to 200 ms of a quiet room on each side.

    Returns
    -------
    ndarray of float32, shape (n_samples,)
        At ``to_sr``, no sample above 0.9.
    """
    import soxr

    y = soxr.resample(y, sr, to_sr)
    y = y * 10 ** (level_dbfs / 20) / np.sqrt(np.mean(y**2))
    before, after = rng.integers(to_sr * 50 // 1000, to_sr * 200 // 1000, size=2)
    y = np.pad(y, (before, after))
    # No recording has silence of zeros.
    y = y + 10 ** (-72 / 20) * rng.standard_normal(len(y))
    return (y * min(1.0, 0.9 / np.abs(y).max())).astype(np.float32)


def write_clip(path: Path, y: np.ndarray, sr: int) -> None:
    """Write ``y`` in the format of the suffix; the same samples give the same bytes."""
    import soundfile

    content = io.BytesIO()
    soundfile.write(content, y, sr, format=path.suffix[1:].upper())
    encoded = content.getvalue()
    path.write_bytes(_without_serial(encoded) if path.suffix == ".ogg" else encoded)


def _without_serial(ogg: bytes) -> bytes:
    """Set the random serial number of an Ogg stream to 0, and its checksums right."""
    pages = []
    while ogg:
        n_segments = ogg[26]
        length = 27 + n_segments + sum(ogg[27 : 27 + n_segments])
        page = bytearray(ogg[:length])
        page[14:18] = page[22:26] = bytes(4)
        page[22:26] = _ogg_checksum(page).to_bytes(4, "little")
        pages.append(page)
        ogg = ogg[length:]
    return b"".join(pages)


def _ogg_checksum(page: bytes | bytearray) -> int:
    # Ogg's CRC is zlib's with all bits mirrored and nothing inverted.
    mirrored = zlib.crc32(page.translate(_MIRRORED), 0xFFFFFFFF) ^ 0xFFFFFFFF
    return int(f"{mirrored:032b}"[::-1], 2)
