"""What decoding the clips of a table tells: which can be used, how long and loud they are."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np

from helpers.columns import MEASURED
from helpers.errors import UserError
from helpers.parallel import map_clips
from helpers.parts import name_part, split_part
from helpers.sound.audio import (
    SAMPLE_RATE,
    AudioError,
    cut_frames,
    decode_audio,
    hash_clip,
    mean_power,
)

if TYPE_CHECKING:
    import pandas as pd

_SHORTEST_WINDOW_S = 0.5
_LOG = logging.getLogger(__name__)


def inspect_clips(
    table: pd.DataFrame, *, window_s: float = 0.0
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Decode every clip of an utterance table once, in parallel; part the good from the bad.

    Parameters
    ----------
    table : DataFrame
        Utterance table; ``path``, ``corpus`` and ``emotion`` are read.
    window_s : float
        Cut clips that are longer into windows of this length in s, at least 0.5, each a clip of
        its own; 0 leaves them whole.

    Returns
    -------
    good : DataFrame
        The usable rows with ``duration_s``, ``peak_dbfs``, ``rms_dbfs``, ``noise_dbfs`` (its
        floor; 0 dBFS is 1.0), ``band_hz`` (highest frequency; all of the 16 kHz waveform) and
        ``sha256`` (of the file's bytes), index 0 … n-1.
    rejected : DataFrame
        Columns ``path corpus emotion error``, one row per clip that cannot be used.

    Raises
    ------
    UserError
        Windows that are too short.
    """
    import pandas as pd  # not above: the processes that read clips start sooner without it

    if window_s and not window_s >= _SHORTEST_WINDOW_S:
        raise UserError(
            f"windows of {window_s:g} s: expected at least {_SHORTEST_WINDOW_S} s, or 0"
        )
    table = table.reset_index(drop=True)
    measured = measure_clips(table["path"])
    bad = measured["error"] != ""
    good = table[~bad].assign(**measured.loc[~bad, MEASURED]).reset_index(drop=True)
    rejected = table.loc[bad, ["path", "corpus", "emotion"]].assign(error=measured["error"][bad])
    if len(rejected):
        _LOG.warning("left out %d of %d clips that cannot be used", len(rejected), len(table))
    for note, clips in table[measured["note"] != ""].groupby(measured["note"]):
        _LOG.warning("%d clips: %s, e.g. %s", len(clips), note, clips["path"].iloc[0])
    rejected = rejected.reset_index(drop=True)
    long = good["duration_s"] > (window_s or np.inf)
    if long.any():
        windows = pd.concat([_cut(clip, window_s) for _, clip in good[long].iterrows()])
        cut, bad = inspect_clips(windows)
        good = pd.concat([good[~long], cut]).sort_values("path", ignore_index=True)
        rejected = pd.concat([rejected, bad], ignore_index=True)
    return good, rejected


def measure_clips(paths: Iterable[str]) -> pd.DataFrame:
    """Decode clips in parallel: one row each, columns :data:`MEASURED`, ``note`` and ``error``.

    The note says what of a clip could not be decoded, the error why nothing could.
    """
    import pandas as pd

    rows = map_clips(_measure, paths, label="Reading clips")
    return pd.DataFrame(list(rows), columns=[*MEASURED, "note", "error"])


def _cut(clip: pd.Series, window_s: float) -> pd.DataFrame:
    """One row per window of a clip; the last one ends with the clip."""
    import pandas as pd

    file, start_s, _, channel = split_part(clip["path"]) or (clip["path"], 0.0, None, None)
    last = clip["duration_s"] - window_s
    starts = [*np.arange(0, last, window_s), last]
    paths = [name_part(file, start_s + t, start_s + t + window_s, channel) for t in starts]
    return pd.DataFrame([clip] * len(paths)).assign(path=paths)


def _measure(path: str) -> tuple[object, ...]:
    try:
        y, notes = decode_audio(path)
        peak = 20 * np.log10(float(np.max(np.abs(y))))
        power = 10 * np.log10(float(mean_power(y)))
        measured = len(y) / SAMPLE_RATE, peak, power, *_noise_and_band(y), hash_clip(path)
        return *measured, "; ".join(notes), ""
    except Exception as error:  # reported in the table: one bad clip must not stop thousands
        text = str(error) if isinstance(error, AudioError) else f"{path}: {error!r}"
        return *[np.nan] * 5, "", "", text


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
    return np.square(np.abs(np.fft.rfft(frames * np.hanning(frames.shape[1])))).mean(axis=0)
