"""What happens to a sound between a mouth and a model, in known amounts.

The tests and their limits follow Derington et al. (2023, "Testing Speech Emotion Recognition
Machine Learning Models", arXiv 2312.06270); what has no limit is there for its curve. Their noises
and rooms are not ours to ship: here music is synthesised and rooms are statistical.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from helpers.sound.audio import SAMPLE_RATE, cut_frames, mean_power
from helpers.sound.augment import (
    add_babble,
    add_noise,
    add_room,
    change_gain,
    encode,
    limit_to_telephone,
    noise_gain,
)

AS_RECORDED = "as recorded"


@dataclass(frozen=True)
class Condition:
    """One way to change a clip, and what a model has to withstand.

    Attributes
    ----------
    group : str
        Conditions of a group draw the same noise for a clip, so that only the level differs.
    change : callable
        ``(y, rng) -> y``, or ``(y, rng, voices=…) -> y`` with ``needs_voices``; defined in a
        module, so that another process finds it.
    level : float, optional
        Place on the curve of its group, such as an SNR in dB or kbit/s.
    max_drop : float, optional
        Limit: the most that UAR may fall.
    min_same : float, optional
        Limit: the smallest share of clips that must keep their predicted emotion.
    compared_with : str
        Name of the condition whose predictions are to be kept.
    """

    group: str
    name: str
    change: Callable[..., np.ndarray]
    level: float | None = None
    max_drop: float | None = None
    min_same: float | None = None
    needs_voices: bool = False
    compared_with: str = AS_RECORDED


def disturb(job: tuple[np.ndarray, str, Sequence[np.ndarray], Condition, int]) -> np.ndarray | str:
    """Apply one condition to one clip; a text says why the changed waveform is not there.

    A job is a waveform, the name of the clip, voices, a condition and a seed. What is drawn depends
    on the seed and the names of clip and group, not on what else is tested or in which order.
    """
    y, name, voices, condition, seed = job
    rng = make_rng(seed, name, condition.group)
    more = {"voices": voices} if condition.needs_voices else {}
    try:
        return condition.change(y, rng, **more)
    except Exception as error:  # reported in the table: what fails once must not stop the rest
        return f"{type(error).__name__}: {error}"


def make_rng(seed: int, *names: str) -> np.random.Generator:
    """Generator of its own for each seed and names, the same on any machine."""
    return np.random.default_rng([seed, *(zlib.crc32(name.encode()) for name in names)])


def leave(y: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The clip as it is."""
    return y


# --- noise --------------------------------------------------------------------------------------


def add_music(y: np.ndarray, rng: np.random.Generator, *, snr_db: float = 15.0) -> np.ndarray:
    """Add background music (:func:`make_music`).

    ``snr_db`` is the power of the clip over that of the music.
    """
    music = make_music(len(y), rng)
    power = np.mean(music**2, dtype="float64")
    return (y + music * noise_gain(y, power, snr_db=snr_db)).astype("float32")


def make_music(n: int, rng: np.random.Generator) -> np.ndarray:
    """Synthesise ``n`` samples like music: chords of plucked notes, a bass and a beat.

    Tempo (80 to 140 beats a minute), key, chords, and where the piece begins are drawn.
    """
    beat = round(SAMPLE_RATE * 60 / rng.uniform(80, 140))
    skipped = int(rng.integers(2 * beat))
    tonic = rng.uniform(40, 52)  # as a MIDI number: 82 to 165 Hz
    music = np.zeros(skipped + n + 2 * beat, "float32")
    for start in range(0, skipped + n, 2 * beat):
        root, third = _CHORDS[rng.integers(len(_CHORDS))]
        notes = {-12: 1.0, 12: 0.5, 12 + third: 0.5, 19: 0.5, 24: 0.5}
        music[start : start + 2 * beat] += _pluck(tonic + root, notes, 2 * beat)
    time_s = np.arange(SAMPLE_RATE // 5) / SAMPLE_RATE  # shorter than any half beat
    kick = np.sin(2 * np.pi * 60 * time_s) * np.exp(-time_s / 0.06)
    for place, start in enumerate(range(0, skipped + n, beat // 2)):
        hit = 0.15 * rng.normal(size=len(time_s)) * np.exp(-time_s / 0.02)
        music[start : start + len(hit)] += hit + kick if place % 4 == 0 else hit
    return music[skipped : skipped + n]


# Root above the tonic and third above the root, in semitones: I, ii, IV, V and vi of a major key.
_CHORDS = ((0, 4), (2, 3), (5, 4), (7, 4), (9, 3))
_TABLE_BITS = 12


def _pluck(root: float, notes: dict[int, float], n: int) -> np.ndarray:
    """Strings of eight harmonics, as semitones above ``root`` and amplitude; dying in a second."""
    phase = 2 * np.pi * np.arange(2**_TABLE_BITS) / 2**_TABLE_BITS
    # One period that is read again and again takes a tenth of the time of eight sines.
    period = sum(np.sin(k * phase) / k for k in range(1, 9)).astype("float32")
    turns, sound = np.arange(n, dtype="uint32"), np.zeros(n, "float32")
    for note, amplitude in notes.items():
        hz = 440 * 2 ** ((root + note - 69) / 12)
        step = np.uint32(round(hz / SAMPLE_RATE * 2**32))  # the whole circle is 2 ** 32
        sound += amplitude * period[(turns * step) >> np.uint32(32 - _TABLE_BITS)]
    return sound * np.exp(np.arange(n) / (-0.45 * SAMPLE_RATE)).astype("float32")


# --- room ---------------------------------------------------------------------------------------


def _room(*, rt60_s: float, volume_m3: float, distance_m: float = 1.0) -> Callable:
    """A talker at a distance in a room, after the diffuse-field theory.

    The direct sound and what comes back are equally strong at 0.057 · √(2 V / T) metres; 2 is how
    much a mouth bundles its sound.
    """
    drr_db = float(20 * np.log10(0.057 * np.sqrt(2 * volume_m3 / rt60_s) / distance_m))
    return partial(add_room, rt60_s=rt60_s, drr_db=drr_db)


# --- amplitude and spectrum ---------------------------------------------------------------------


def clip_loudest(y: np.ndarray, rng: np.random.Generator, *, share: float = 0.002) -> np.ndarray:
    """Cut off the peaks: the loudest ``share`` of all samples get one amplitude."""
    limit = np.quantile(np.abs(y), 1 - share)
    return np.clip(y, -limit, limit).astype("float32")


def filter_band(
    y: np.ndarray, rng: np.random.Generator, *, kind: str = "highpass", hz: float = 100.0
) -> np.ndarray:
    """First-order Butterworth filter: 3 dB less at ``hz``, from there 6 dB per octave.

    ``kind`` is ``highpass`` or ``lowpass``. ``rng`` is not used.
    """
    from scipy.signal import butter, sosfilt

    return sosfilt(butter(1, hz, kind, fs=SAMPLE_RATE, output="sos"), y).astype("float32")


def tilt_spectrum(
    y: np.ndarray, rng: np.random.Generator, *, db_per_octave: float = 3.0
) -> np.ndarray:
    """Make a clip brighter (> 0) or darker (< 0) by a straight line over the octaves.

    The line begins at 100 Hz; below, nothing changes. The clip is as loud as before. ``rng`` is
    not used.
    """
    from scipy import fft

    size = fft.next_fast_len(len(y) + SAMPLE_RATE // 4, real=True)
    octaves = np.log2(np.maximum(fft.rfftfreq(size, 1 / SAMPLE_RATE), 100) / 100)
    gain = 10 ** (db_per_octave * octaves / 20)
    tilted = fft.irfft(fft.rfft(y.astype("float64"), size) * gain, size)[: len(y)]
    before, after = np.sqrt(mean_power(y)), np.sqrt(mean_power(tilted))
    return (tilted * (before / (after + 1e-12))).astype("float32")


# --- time ---------------------------------------------------------------------------------------


def move_edges(
    y: np.ndarray, rng: np.random.Generator, *, start: int = 0, end: int = 0
) -> np.ndarray:
    """Add zeros (> 0) or remove samples (< 0) at the start and the end."""
    kept = y[max(-start, 0) : len(y) - max(-end, 0)]
    return np.pad(kept, (max(start, 0), max(end, 0)))


def keep_first(y: np.ndarray, rng: np.random.Generator, *, duration_s: float = 1.0) -> np.ndarray:
    """Stop listening ``duration_s`` after the voice began.

    It begins in the first 20 ms that are within 30 dB of the loudest; what is before is silence
    and does not count, but for 50 ms. ``rng`` is not used.
    """
    size = SAMPLE_RATE // 50
    power = mean_power(cut_frames(y, size))
    onset = int(np.argmax(power >= power.max() * 1e-3)) * size if len(power) else 0
    start = max(onset - SAMPLE_RATE // 20, 0)
    return y[start : onset + round(duration_s * SAMPLE_RATE)]


# --- the list -----------------------------------------------------------------------------------

#: Largest drop of UAR and smallest share of clips with an unchanged prediction.
_LIMITS: dict[str, tuple[float | None, float]] = {
    **dict.fromkeys(("white noise 20 dB", "babble 20 dB", "music 20 dB"), (0.05, 0.9)),
    "telephone": (0.05, 0.5),
    **dict.fromkeys(("small room", "medium room", "large room"), (None, 0.8)),
    "medium room, 2 m instead of 1 m": (None, 0.8),
    **dict.fromkeys(("3 dB/octave darker", "3 dB/octave brighter"), (0.02, 0.8)),
    # What a listener hardly notices.
    **dict.fromkeys(("white noise 40 dB", "gain -2 dB", "gain 2 dB"), (None, 0.95)),
    **dict.fromkeys(("500 zeros before", "500 zeros after"), (None, 0.95)),
    **dict.fromkeys(("500 samples off the start", "500 samples off the end"), (None, 0.95)),
    **dict.fromkeys(("0.2 % clipped", "high-pass 100 Hz", "low-pass 7 kHz"), (None, 0.95)),
}


def _one(group: str, name: str, change: Callable, level: float | None = None, **more) -> Condition:
    return Condition(group, name, change, level, *_LIMITS.get(name, (None, None)), **more)


def _series(
    name: str, change: Callable, levels: Sequence[float], *, option: str, **more
) -> list[Condition]:
    """Conditions that differ in ``option`` of ``change``, which is ``{}`` in the name."""
    group = name.partition(" {")[0]
    return [
        _one(group, name.format(f"{level:g}"), partial(change, **{option: level}), level, **more)
        for level in levels
    ]


_SNRS = (0, 5, 10, 15, 20, 30)
_MEDIUM = partial(_room, rt60_s=0.5, volume_m3=100)

#: All tests, in the order of the table. Rooms are at 1 m from the talker if nothing else is said.
CONDITIONS: tuple[Condition, ...] = (
    *_series("white noise {} dB", add_noise, (*_SNRS, 40), option="snr_db"),
    *_series("babble {} dB", add_babble, _SNRS, option="snr_db", needs_voices=True),
    *_series("music {} dB", add_music, _SNRS, option="snr_db"),
    _one("telephone", "telephone", limit_to_telephone),
    *_series("MP3 {} kbit/s", partial(encode, codec="mp3"), (16, 32), option="kbps"),
    *_series("AAC {} kbit/s", partial(encode, codec="aac"), (16, 32), option="kbps"),
    *_series("Opus {} kbit/s", partial(encode, codec="opus"), (8, 16, 32), option="kbps"),
    _one("room", "small room", _room(rt60_s=0.3, volume_m3=40)),
    _one("room", "medium room", _MEDIUM()),
    _one("room", "large room", _room(rt60_s=0.8, volume_m3=400)),
    # The direct sound is 6 dB weaker, and what comes back is another draw.
    _one(
        "position",
        "medium room, 2 m instead of 1 m",
        _MEDIUM(distance_m=2),
        compared_with="medium room",
    ),
    *_series("gain {} dB", change_gain, (-20, -10, -2, 2, 10, 20), option="gain_db"),
    _one("edges", "500 zeros before", partial(move_edges, start=500)),
    _one("edges", "500 zeros after", partial(move_edges, end=500)),
    _one("edges", "500 samples off the start", partial(move_edges, start=-500)),
    _one("edges", "500 samples off the end", partial(move_edges, end=-500)),
    *(
        _one("clipping", f"{100 * share:g} % clipped", partial(clip_loudest, share=share), share)
        for share in (0.002, 0.01, 0.05, 0.2)
    ),
    _one("band", "high-pass 100 Hz", partial(filter_band, kind="highpass", hz=100.0)),
    _one("band", "low-pass 7 kHz", partial(filter_band, kind="lowpass", hz=7000.0)),
    _one("tilt", "3 dB/octave darker", partial(tilt_spectrum, db_per_octave=-3.0)),
    _one("tilt", "3 dB/octave brighter", partial(tilt_spectrum, db_per_octave=3.0)),
    *_series("first {} s of the voice", keep_first, (0.5, 1, 1.5, 2), option="duration_s"),
)
