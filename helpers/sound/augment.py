"""Named augmentations with units, for the training set only.

A change of a waveform takes the clip (16 kHz, shape (n,), float32), a generator for all that is
drawn, and amounts. It returns another float32 waveform, of the same length if nothing else is said.
For babble, room, telephone and codec, audiomentations would need sound files or more packages.
"""

from __future__ import annotations

import io
import random
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from helpers.errors import UserError
from helpers.sound.audio import SAMPLE_RATE, load_audio, mean_power

if TYPE_CHECKING:
    import pandas as pd


def _apply(name: str, y: np.ndarray, rng: np.random.Generator, **amounts: object) -> np.ndarray:
    """Use a transform of audiomentations; the global generators that it draws from are restored."""
    import audiomentations

    transform = getattr(audiomentations, name)(**amounts, p=1)
    before = random.getstate(), np.random.get_state()
    random.seed(int(rng.integers(2**32)))
    np.random.seed(int(rng.integers(2**32)))
    try:
        # A copy: the stretcher refuses arrays that are read-only, as a memory-mapped one is.
        return transform(samples=np.array(y, dtype="float32"), sample_rate=SAMPLE_RATE)
    finally:
        random.setstate(before[0])
        np.random.set_state(before[1])


def add_noise(y: np.ndarray, rng: np.random.Generator, *, snr_db: float = 15.0) -> np.ndarray:
    """Add white noise; ``snr_db`` is the power of the clip over that of the noise."""
    return _apply("AddGaussianSNR", y, rng, min_snr_db=snr_db, max_snr_db=snr_db)


def stretch_time(y: np.ndarray, rng: np.random.Generator, *, rate: float = 1.2) -> np.ndarray:
    """Speak ``rate`` times as fast at the same pitch; the clip becomes shorter or longer."""
    return _apply("TimeStretch", y, rng, min_rate=rate, max_rate=rate, leave_length_unchanged=False)


def shift_pitch(y: np.ndarray, rng: np.random.Generator, *, semitones: float = 2.0) -> np.ndarray:
    """Raise (or lower) the pitch at the same tempo."""
    return _apply("PitchShift", y, rng, min_semitones=semitones, max_semitones=semitones)


def shift_time(y: np.ndarray, rng: np.random.Generator, *, shift_s: float = 0.2) -> np.ndarray:
    """Move the clip later (or earlier), filling with silence."""
    place = {"min_shift": shift_s, "max_shift": shift_s, "shift_unit": "seconds"}
    return _apply("Shift", y, rng, **place, rollover=False)


def change_gain(y: np.ndarray, rng: np.random.Generator, *, gain_db: float = -6.0) -> np.ndarray:
    """Make the clip louder or softer by ``gain_db``."""
    return _apply("Gain", y, rng, min_gain_db=gain_db, max_gain_db=gain_db)


def add_babble(
    y: np.ndarray, rng: np.random.Generator, *, voices: Sequence[np.ndarray], snr_db: float = 15.0
) -> np.ndarray:
    """Add other people talking at once.

    Parameters
    ----------
    voices : sequence of np.ndarray
        Waveforms at 16 kHz, from :func:`pick_voices`; each is repeated as long as ``y`` lasts,
        from a place that is drawn.
    snr_db : float
        Power of the clip over power of the babble.
    """
    babble = np.zeros(len(y))
    for voice in voices:
        start = int(rng.integers(len(voice)))
        there = np.resize(np.roll(voice, start), len(y))
        babble += there / (np.sqrt(mean_power(there)) + 1e-12)
    babble *= noise_gain(y, np.mean(babble**2) + 1e-12, snr_db=snr_db)
    return (y + babble).astype("float32")


def noise_gain(y: np.ndarray, noise_power: np.floating, *, snr_db: float) -> np.float64:
    """Factor that brings noise of a known power (mean square) to a ratio in dB below ``y``."""
    return np.float64(np.sqrt(mean_power(y) * 10 ** (-snr_db / 10) / noise_power))


def pick_voices(
    clips: pd.DataFrame, protocol: str, speaker: str, rng: np.random.Generator, *, n: int = 5
) -> list[np.ndarray]:
    """Up to ``n`` waveforms of other speakers of the training set, for :func:`add_babble`.

    The column ``protocol`` of ``clips`` names the set of each clip. Clips of ``speaker`` are taken
    only where nobody else is there.
    """
    train = clips[clips[protocol] == "train"]
    others = train[train["speaker"] != speaker]
    others = train if others.empty else others  # TESS trains with one voice
    chosen = rng.permutation(len(others))[:n]
    return [load_audio(path) for path in others["path"].iloc[chosen]]


def add_room(
    y: np.ndarray, rng: np.random.Generator, *, rt60_s: float = 0.5, drr_db: float = 3.0
) -> np.ndarray:
    """Let the clip sound in a room: the direct sound, then a tail of noise that dies away.

    Polack's statistical model of reverberation (1988): after the first reflections, what is left
    of a room is exponentially decaying noise. Each draw is another place in the room. The clip is
    as loud as before; the tail is cut off with it.

    Parameters
    ----------
    rt60_s : float
        Seconds in which the tail falls by 60 dB.
    drr_db : float
        Direct sound over all of the tail.
    """
    from scipy.signal import fftconvolve

    n = max(round(rt60_s * SAMPLE_RATE), 2)
    tail = rng.normal(size=n) * 10 ** (-3 * np.arange(n) / n)
    tail[: round(0.002 * SAMPLE_RATE)] = 0  # nothing comes back before 2 ms
    tail *= np.sqrt(10 ** (-drr_db / 10) / (np.sum(tail**2) + 1e-12))
    tail[0] = 1.0
    heard = fftconvolve(y, tail)[: len(y)]
    before, after = np.sqrt(mean_power(y)), np.sqrt(mean_power(heard))
    return (heard * before / (after + 1e-12)).astype("float32")


def limit_to_telephone(y: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Send the clip through an old telephone line: 300 to 3400 Hz, 8 bits of µ-law.

    ITU-T G.711 with µ = 255 at 8 kHz; the result is at 16 kHz again, empty above 4 kHz. ``rng`` is
    not used.
    """
    import soxr
    from scipy.signal import butter, sosfiltfilt

    band = butter(4, (300, 3400), "bandpass", fs=8000, output="sos")
    low = soxr.resample(y, SAMPLE_RATE, 8000)
    padding = min(200, len(low) - 1)
    low = np.clip(sosfiltfilt(band, low, padlen=padding), -1, 1)
    companded = np.sign(low) * np.log1p(255 * np.abs(low)) / np.log(256)
    companded = np.round(companded * 127) / 127
    back = np.sign(companded) * np.expm1(np.abs(companded) * np.log(256)) / 255
    return _fit_length(soxr.resample(back, 8000, SAMPLE_RATE), len(y))


def encode(
    y: np.ndarray, rng: np.random.Generator, *, codec: str = "mp3", kbps: int = 32
) -> np.ndarray:
    """Encode the clip as it would be sent or stored, and decode it again.

    The delay of the codec is taken out. ``rng`` is not used. ``codec`` is ``mp3``, ``aac`` or
    ``opus``, ``kbps`` the bit rate in 1000 bits a second.
    """
    import av
    from scipy.signal import correlate

    if codec not in _CODECS:
        raise UserError(f"codec {codec!r}: expected one of {', '.join(_CODECS)}")
    name, container, sample_format = _CODECS[codec]
    peak = float(np.abs(y).max(initial=0.0))
    if not peak:
        return y.copy()
    file = io.BytesIO()
    # Silence behind, since encoders drop their last frame; before, since decoders the first.
    padded = np.pad(y * (0.5 / peak), _CODEC_PADDING).astype("float32")
    with av.open(file, "w", format=container) as sink:
        stream: Any = sink.add_stream(name, rate=SAMPLE_RATE, bit_rate=1000 * kbps, layout="mono")
        frame = av.AudioFrame.from_ndarray(padded[None], format="fltp", layout="mono")
        frame.sample_rate = SAMPLE_RATE
        convert = av.AudioResampler(sample_format, "mono", SAMPLE_RATE, stream.frame_size or None)
        for part in (*convert.resample(frame), *convert.resample(None)):
            sink.mux(stream.encode(part))
        sink.mux(stream.encode(None))
    found = load_audio(file.getvalue(), name=f"{codec} at {kbps} kbit/s")
    likeness = correlate(found, y, mode="valid", method="fft")
    start = int(likeness[: 2 * _CODEC_PADDING].argmax())
    return _fit_length(found[start:] * (peak / 0.5), len(y))


# Encoder, container, and the samples that the encoder takes.
_CODECS = {
    "mp3": ("libmp3lame", "mp3", "fltp"),
    "aac": ("aac", "adts", "fltp"),
    "opus": ("libopus", "ogg", "flt"),
}
_CODEC_PADDING = 4000


def _fit_length(y: np.ndarray, n: int) -> np.ndarray:
    return np.pad(y[:n], (0, max(0, n - len(y)))).astype("float32")


#: Five common augmentations, then what else happens to a voice before it is heard, each
#: ``(y, rng, **amount) -> y``. Babble also needs ``voices``.
AUGMENTATIONS: dict[str, Callable[..., np.ndarray]] = {
    "noise": add_noise,
    "time stretch": stretch_time,
    "pitch shift": shift_pitch,
    "time shift": shift_time,
    "gain": change_gain,
    "babble": add_babble,
    "room": add_room,
    "telephone": limit_to_telephone,
    "codec": encode,
}


def mask_spectrogram(frames: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """SpecAugment (Park et al. 2019, arXiv 1904.08779): blank two stretches and two bands.

    Each is up to 20 frames long or 8 bins wide.

    Parameters
    ----------
    frames : np.ndarray, shape (n_frames, n_bins)

    Returns
    -------
    np.ndarray, shape (n_frames, n_bins)
        A copy, masked with the clip's mean.
    """
    frames = frames.copy()
    n_frames, n_bins = frames.shape
    fill = frames.mean()
    for _ in range(2):
        width = rng.integers(min(_MASK_FRAMES, n_frames) + 1)
        start = rng.integers(n_frames - width + 1)
        frames[start : start + width] = fill
        width = rng.integers(min(_MASK_BINS, n_bins) + 1)
        start = rng.integers(n_bins - width + 1)
        frames[:, start : start + width] = fill
    return frames


# The most that a training picture is masked, moved, stretched (logarithm) and transposed.
_MASK_FRAMES, _MASK_BINS = 20, 8
_SHIFT_FRAMES, _STRETCH, _SHIFT_BINS = 25.0, 0.15, 2.5


def augment_frames(batch: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Draw a new version of every log-mel picture of a training batch.

    Each is stretched or squeezed in time, moved in time, moved along the mel bands (a voice a
    little higher or lower), by fractions of a frame or band too, and masked as in SpecAugment.
    What enters in time is silence (0).

    Parameters
    ----------
    batch : np.ndarray, shape (n, n_frames, n_bins), float32
    """
    n, n_frames, n_bins = batch.shape
    rate = np.exp(rng.uniform(-_STRETCH, _STRETCH, (n, 1)))
    shift = rng.uniform(-_SHIFT_FRAMES, _SHIFT_FRAMES, (n, 1))
    middle = (n_frames - 1) / 2
    frame = (np.arange(n_frames) - middle) * rate + middle - shift
    band = np.arange(n_bins) - rng.uniform(-_SHIFT_BINS, _SHIFT_BINS, (n, 1))
    inside = (frame >= 0) & (frame <= n_frames - 1)
    moved = read_between(batch, frame) * inside[:, :, None].astype("float32")
    moved = read_between(moved.transpose(0, 2, 1), band).transpose(0, 2, 1)
    return np.stack([mask_spectrogram(picture, rng) for picture in moved])


def read_between(rows: np.ndarray, place: np.ndarray) -> np.ndarray:
    """Rows of each array at fractional places, shape (n, n_places, …); held at the ends."""
    place = np.clip(place, 0, rows.shape[1] - 1)
    below = np.minimum(place.astype(int), max(rows.shape[1] - 2, 0))
    share = (place - below).astype("float32")[:, :, None]
    above, item = np.minimum(below + 1, rows.shape[1] - 1), np.arange(len(rows))[:, None]
    return rows[item, below] * (1 - share) + rows[item, above] * share
