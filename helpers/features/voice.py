"""The voice in a clip: its pitch, how periodic it is, and whether it speaks at all.

The pitch tracker is the autocorrelation method of Boersma (1993, "Accurate short-term analysis of
the fundamental frequency and the harmonics-to-noise ratio of a sampled sound", Proceedings of the
Institute of Phonetic Sciences 17: 97-110), which Praat uses, on librosa's frames. It says in one
go what the pitch is, whether there is one, and how much of the sound is periodic.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np

from helpers.sound.audio import SAMPLE_RATE

F0_MIN, F0_MAX = 60.0, 600.0  # Hz; the upper one is that of Praat: actresses who shout get there

# The costs of Boersma (1993) and Praat; in units of autocorrelation, 0 … 1.
_VOICING = 0.45  # periodicity at which a frame may be called voiced
_SILENCE = 0.03  # of the clip's peak: softer frames are hardly voiced
_OCTAVE = 0.01  # an octave lower has to be this much better
_OCTAVE_JUMP = 0.35
_TURN = 0.14  # between voiced and unvoiced
_CANDIDATES = 4
_PERIODS = 3  # of the lowest pitch in a window


@dataclass(frozen=True)
class Pitch:
    """A pitch contour: ``f0`` in Hz, and the share of the power that repeats with its period.

    Both have shape (n_frames,) and are NaN where no voice is.
    """

    f0: np.ndarray
    periodicity: np.ndarray


def track_pitch(y: np.ndarray, *, hop: int) -> Pitch:
    """Follow the pitch of a voice.

    Parameters
    ----------
    y : np.ndarray, shape (n,), float32
        Waveform at 16 kHz.
    hop : int
        Samples between frames; frame ``i`` is centred on sample ``i * hop``, as in librosa.

    Returns
    -------
    Pitch
        ``1 + n // hop`` frames.

    Examples
    --------
    >>> t = np.arange(8000) / 16000
    >>> voice = sum(np.sin(2 * np.pi * 120 * k * t) / k for k in range(1, 6))
    >>> round(float(np.nanmedian(track_pitch(voice.astype("float32"), hop=160).f0)), 1)
    120.0
    """
    strengths, lags, heights = _find_candidates(y, hop)
    chosen = _find_path(strengths, lags, hop)
    rows = np.arange(len(chosen))
    voiced = chosen > 0
    lag, height = lags[rows, chosen], heights[rows, chosen]
    f0 = np.where(voiced, SAMPLE_RATE / lag, np.nan)
    return Pitch(f0, np.where(voiced, np.clip(height, 1e-6, 1 - 1e-6), np.nan))


def _find_candidates(y: np.ndarray, hop: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Strength, lag in samples and autocorrelation of the candidates of each frame.

    Shape (n_frames, 1 + _CANDIDATES); the first says that there is no voice.
    """
    from scipy import fft

    width = round(_PERIODS * SAMPLE_RATE / F0_MIN) // 2 * 2
    first, last = int(SAMPLE_RATE / F0_MAX), int(np.ceil(SAMPLE_RATE / F0_MIN)) + 1
    frames = np.lib.stride_tricks.sliding_window_view(np.pad(y, width // 2), width)[::hop]
    peak = np.abs(y).max(initial=0.0)
    frames = frames - frames.mean(axis=1, keepdims=True)
    loud = np.abs(frames).max(axis=1) / (peak + 1e-12)
    window = np.hanning(width).astype("float32")
    size = fft.next_fast_len(width + last + 1, real=True)
    spectrum = fft.rfft(frames * window, size, axis=1)
    power = spectrum.real**2 + spectrum.imag**2
    correlation = fft.irfft(power, size, axis=1)[:, : last + 1]
    own = fft.irfft(np.abs(fft.rfft(window, size)) ** 2, size)[: last + 1]
    correlation /= correlation[:, :1] + 1e-12
    # A window makes every sound look less periodic than it is, the more the longer the lag.
    correlation /= own / own[0]

    before, here, after = (correlation[:, first - 1 + k : last - 1 + k] for k in range(3))
    is_peak = (here > before) & (here >= after) & (here > 0.5 * _VOICING)
    # A parabola through three points finds the peak between the samples.
    slope = before - after
    place = np.where(is_peak, 0.5 * slope / np.where(is_peak, before - 2 * here + after, 1), 0)
    height = here - 0.25 * slope * place
    lag = np.arange(first, last) + place
    # Above 1 it can only be noise of the shortest lags; Praat mirrors it.
    height = np.where(height > 1, 1 / np.maximum(height, 1e-6), height)
    lower = np.log2(F0_MIN * np.arange(first, last) / SAMPLE_RATE).astype("float32")
    strength = np.where(is_peak, height - _OCTAVE * lower, -np.inf)
    best = np.argpartition(-strength, _CANDIDATES, axis=1)[:, :_CANDIDATES]

    def take(values: np.ndarray, none: np.ndarray | float) -> np.ndarray:
        column = np.broadcast_to(np.asarray(none, dtype="float64"), len(values))[:, None]
        return np.concatenate([column, np.take_along_axis(values, best, axis=1)], axis=1)

    unvoiced = _VOICING + np.maximum(0, 2 - loud * (1 + _VOICING) / _SILENCE)
    return take(strength, unvoiced), take(lag, np.inf), take(height, 0.0)


def _find_path(strengths: np.ndarray, lags: np.ndarray, hop: int) -> np.ndarray:
    """Index of the candidate in each frame on the path of least cost (Viterbi)."""
    # Praat's costs are for steps of 10 ms.
    scale = 0.01 * SAMPLE_RATE / hop
    octave = np.zeros_like(lags)
    octave[:, 1:] = np.log2(lags[:, 1:])
    voiced = np.isfinite(lags)
    jump = _OCTAVE_JUMP * np.abs(octave[:-1, :, None] - octave[1:, None, :])
    turn = voiced[:-1, :, None] != voiced[1:, None, :]
    both = voiced[:-1, :, None] & voiced[1:, None, :]
    cost = scale * np.where(both, jump, np.where(turn, _TURN, 0.0))
    score = strengths[0]
    back = np.zeros(strengths.shape, dtype=int)
    for step in range(1, len(strengths)):
        total = score[:, None] - cost[step - 1]
        back[step] = total.argmax(axis=0)
        score = total[back[step], np.arange(len(score))] + strengths[step]
    chosen = np.zeros(len(strengths), dtype=int)
    chosen[-1] = int(score.argmax())
    for step in range(len(strengths) - 1, 0, -1):
        chosen[step - 1] = back[step, chosen[step]]
    return chosen


def voiced_stretches(f0: np.ndarray) -> np.ndarray:
    """First frame of each stretch with a voice and the one after its last, shape (n, 2)."""
    voiced = np.concatenate([[False], np.isfinite(f0), [False]])
    return np.flatnonzero(voiced[1:] != voiced[:-1]).reshape(-1, 2)


# --- does anybody speak? A model would name an emotion for a fan as well ------------------------

#: Why a sound gets no emotion, and what a person can do about it.
REASONS = {
    "too short": "Say a whole sentence.",
    "too quiet": "Come closer to the microphone, or raise its level.",
    "clipped": "It was too loud for the microphone: lower its level, or step back.",
    "no speech": "There may be noise or music, but no voice that could be told from it.",
}
_SHORTEST_S = 0.3
_QUIET_PEAK = 0.003  # -50 dBFS; the softest of 2452 published clips has -46
_FULL_SCALE, _CLIPPED = 0.98, 0.05  # share of the samples; of 9060 published clips at most 0.003
# Chosen on EmoDB, nEMO, TESS and RAVDESS, against synthesised noise, hum and music.
_GLIDE_S, _MOVEMENT_DB = 0.15, 4.0
_LIVELY_DB = 12.0  # of movement: somebody speaks, though on one note or in a whisper
_HOP_S, _FRAME = 0.02, 512
_STEPS = 5  # of a hop: what a syllable takes to change
_AUDIBLE_DB = -30  # below the loudest frame


def judge_speech(y: np.ndarray) -> str:
    """Why no emotion is named: one of :data:`REASONS`, or nothing if somebody speaks.

    Parameters
    ----------
    y : np.ndarray, shape (n_samples,), float32
        16 kHz waveform.

    Examples
    --------
    >>> judge_speech(np.random.default_rng(0).normal(0, 0.1, 16000).astype("float32"))
    'no speech'
    """
    level = np.abs(y)
    if len(y) < _SHORTEST_S * SAMPLE_RATE:
        return "too short"
    if level.max() < _QUIET_PEAK:
        return "too quiet"
    if np.mean(level >= _FULL_SCALE) > _CLIPPED:
        return "clipped"
    glide_s, movement_db = measure_speech(y)
    speaks = movement_db >= (_MOVEMENT_DB if glide_s >= _GLIDE_S else _LIVELY_DB)
    return "" if speaks else "no speech"


def measure_speech(y: np.ndarray) -> tuple[float, float]:
    """For how many seconds the pitch glides, and by how many dB the spectrum changes.

    A voice glides by 0.1 to 2 semitones in 20 ms; noise has no pitch, and that of a hum or a string
    stands still. Syllables change the shape of the spectrum, 20 mel bands, within 100 ms: the third
    quartile over the audible frames of their root mean square.
    """
    hop = round(_HOP_S * SAMPLE_RATE)
    steps = np.abs(np.diff(12 * np.log2(track_pitch(y, hop=hop).f0)))
    glide_s = _HOP_S * np.count_nonzero((steps > 0.1) & (steps < 2))
    frames = np.lib.stride_tricks.sliding_window_view(y, _FRAME)[::hop]
    power = np.abs(np.fft.rfft(frames * np.hanning(_FRAME))) ** 2 @ _mel_bands()
    loudness = power.sum(axis=1)
    power = power[loudness > loudness.max() * 10 ** (_AUDIBLE_DB / 10)]
    if len(power) <= _STEPS:
        return glide_s, 0.0
    bands = 10 * np.log10(power + 1e-6 * power.max())
    shape = bands - bands.mean(axis=1, keepdims=True)
    changes = np.sqrt(np.mean((shape[_STEPS:] - shape[:-_STEPS]) ** 2, axis=1))
    return glide_s, float(np.percentile(changes, 75))


@cache
def _mel_bands() -> np.ndarray:
    """What ``librosa.filters.mel`` gives for 20 bands, which takes a second to import.

    Slaney's scale: steps of 200 / 3 Hz up to 1 kHz, above it 27 steps to 6.4 times as much.
    """
    steps = np.linspace(0, 15 + 27 * np.log(8) / np.log(6.4), 22)
    edges = np.where(steps < 15, steps * 200 / 3, 1000 * 6.4 ** (steps / 27 - 15 / 27))
    hz = np.fft.rfftfreq(_FRAME, 1 / SAMPLE_RATE)[:, None]
    rise = (hz - edges[:-2]) / np.diff(edges)[:-1]
    fall = (edges[2:] - hz) / np.diff(edges)[1:]
    return np.maximum(np.minimum(rise, fall), 0) * 2 / (edges[2:] - edges[:-2])
