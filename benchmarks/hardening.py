"""Log-mel pictures as outside the studio, made on the pictures themselves, which costs little.

In power, a room is a tail that dies away, a second sound is a sum, a microphone is a gain per band.
Phases are lost, which on bands this wide matters little. What is drawn here is none of the
conditions of :mod:`helpers.sound.disturbances`, by which models are tested.
"""

from __future__ import annotations

from itertools import product

import librosa
import numpy as np

from helpers.sound.audio import SAMPLE_RATE
from helpers.sound.augment import augment_frames, read_between

_CLEAN_SHARE = 0.4  # of the clips stay as they are: most users still speak into good microphones
_ROOM, _NOISE, _CUT, _SHORT = 0.5, 0.7, 0.7, 0.25  # how often a changed clip meets each
_FRAME_S = 0.02
_MASK_BINS = 8


def harden_frames(
    batch: np.ndarray,
    rng: np.random.Generator,
    *,
    clean_share: float = _CLEAN_SHARE,
    shift_bands: float = 0.0,
    warp: float = 0.0,
    masks: int = 0,
) -> np.ndarray:
    """Put some clips of a training batch into rooms and noise, then :func:`augment_frames`.

    Parameters
    ----------
    batch : np.ndarray, shape (n, n_frames, n_bins), float32
        Log-mel in dB above silence (0).
    clean_share : float
        Clips that meet neither rooms nor noise.
    shift_bands, warp : float
        How far all voices are moved along the bands, and their frequencies stretched (as a share).
    masks : int
        Bands that are hidden besides those of :func:`augment_frames`.
    """
    if shift_bands or warp:
        batch = _change_voice(batch, rng, shift_bands, warp)
    changed = rng.random(len(batch)) >= clean_share
    batch = batch.copy()
    if changed.any():
        batch[changed] = _spoil(batch[changed], rng)
    batch = augment_frames(batch, rng)
    for picture, _ in product(batch, range(masks)):
        width = rng.integers(_MASK_BINS + 1)
        start = rng.integers(batch.shape[2] - width + 1)
        picture[:, start : start + width] = picture.mean()
    return batch


def _change_voice(
    batch: np.ndarray, rng: np.random.Generator, shift_bands: float, warp: float
) -> np.ndarray:
    """The same words from a longer or shorter throat, a little higher or lower."""
    n, _, n_bins = batch.shape
    stretched = _centres(n_bins) * np.exp(rng.uniform(-warp, warp, (n, 1)))
    band = np.interp(stretched, _centres(n_bins), np.arange(n_bins))
    band += rng.uniform(-shift_bands, shift_bands, (n, 1))
    return read_between(batch.transpose(0, 2, 1), band).transpose(0, 2, 1)


def _spoil(batch: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Cut edges, room, noise, colour, in the order in which a sound meets them."""
    loudest = batch.max(axis=(1, 2), keepdims=True)
    power = 10 ** (batch / 10) - 1  # silence is none
    power = _keep_part(power, rng)
    power = power + _make_tail(power, rng)
    power = power + _make_noise(power, rng)
    level = 10 * np.log10(power + 1) + _colour(len(batch), batch.shape[2], rng)[:, None]
    # Relative to the clip's loudest bin, as the front end has it: gain changes nothing.
    level += loudest - level.max(axis=(1, 2), keepdims=True)
    return np.maximum(level, 0).astype("float32")


def _keep_part(power: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Silence before and after a part of 0.8 s to all of it, in some clips."""
    n, n_frames, _ = power.shape
    length = rng.uniform(min(40, n_frames), n_frames, (n, 1))
    start = rng.uniform(0, n_frames - length)
    frame = np.arange(n_frames)
    kept = (frame >= start) & (frame < start + length)
    kept |= rng.random((n, 1)) >= _SHORT
    return power * kept[:, :, None]


def _make_tail(power: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """What comes back from a room: 0.15 to 1 s to fall by 60 dB, 3 dB above to 15 below the voice.

    High bands die away up to twice as fast.
    """
    n, _, n_bins = power.shape
    rt60_s = rng.uniform(0.15, 1.0, (n, 1)) * np.linspace(1, rng.uniform(0.5, 1, n), n_bins, axis=1)
    decay = 10 ** (-6 * _FRAME_S / rt60_s)
    strength = 10 ** (-rng.uniform(-3, 15, (n, 1)) / 10) * (rng.random((n, 1)) < _ROOM)
    tail = np.zeros_like(power)
    for frame in range(1, power.shape[1]):
        tail[:, frame] = decay * (tail[:, frame - 1] + power[:, frame - 1])
    return tail * (strength * (1 - decay) / decay)[:, None] * _flicker(power.shape, rng)


def _make_noise(power: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Noise of any colour, other voices of the batch, or held tones, 5 to 40 dB below the voice."""
    n = len(power)
    hiss = _colour_of_noise(power.shape, rng) * _flicker(power.shape, rng)
    sounds = [hiss, _mix_voices(power, rng), _hold_tones(power.shape, rng)]
    noise = np.choose(rng.integers(3, size=(n, 1, 1)), sounds)
    share = 10 ** (-rng.uniform(5, 40, n) / 10) * (rng.random(n) < _NOISE)
    gain = share * power.mean(axis=(1, 2)) / (noise.mean(axis=(1, 2)) + 1e-9)
    return gain[:, None, None] * noise


def _colour_of_noise(shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    """Power per band of noise that falls by 8 dB to rises by 3 dB per octave."""
    edges = librosa.mel_frequencies(shape[2] + 1, fmax=SAMPLE_RATE / 2, htk=True)
    octaves = np.log2(_centres(shape[2]) / 1000)
    slope_db = rng.uniform(-8, 3, (shape[0], 1))
    return (np.diff(edges) * 10 ** (slope_db * octaves / 10))[:, None]


def _mix_voices(power: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Three other clips of the batch, at other times and of different loudness."""
    mixed = np.zeros_like(power)
    for _ in range(3):
        other = power[np.roll(np.arange(len(power)), rng.integers(1, len(power) + 1))]
        other = np.roll(other, rng.integers(power.shape[1]), axis=1)
        loudness = rng.uniform(0.1, 1, (len(power), 1, 1))
        mixed += other * loudness / (other.mean(axis=(1, 2), keepdims=True) + 1e-9)
    return mixed


def _hold_tones(shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    """A few bands at a time that sound and die away, as in music."""
    n, n_frames, n_bins = shape
    beat = int(rng.integers(10, 40))
    notes = rng.gamma(0.3, size=(n, -(-n_frames // beat), n_bins))
    sound = np.repeat(notes, beat, axis=1)[:, :n_frames]
    sound *= np.exp(-(np.arange(n_frames) % beat) / rng.uniform(10, 60))[:, None]
    return sound * (_centres(n_bins) / 1000) ** -1.0


def _flicker(shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    """Power of noise from frame to frame: its mean is 1, narrow bands vary most.

    One picture that each clip begins to read at another time.
    """
    n, n_frames, n_bins = shape
    width = np.linspace(1, 8, n_bins)
    picture = (rng.gamma(width, size=(n_frames, n_bins)) / width).astype("float32")
    start = rng.integers(n_frames, size=(n, 1))
    return picture[(start + np.arange(n_frames)) % n_frames]


def _colour(n: int, n_bins: int, rng: np.random.Generator) -> np.ndarray:
    """Gain in dB of microphone and line, one row per clip: a tilt, a bend, and in some a band."""
    place = np.linspace(-1, 1, n_bins)
    tilt_db, bend_db = rng.uniform(-12, 12, (n, 1)), rng.uniform(-4, 4, (n, 1))
    gain_db = tilt_db * place + bend_db * np.cos(np.pi * place * rng.uniform(0.5, 2, (n, 1)))
    octaves = np.log2(_centres(n_bins))
    below = np.log2(rng.uniform(60, 500, (n, 1))) - octaves
    # As many draws about 3 as about 6 kHz: telephones and headsets cut there.
    above = octaves - rng.uniform(*np.log2([2500, 8000]), (n, 1))
    slope_db = rng.uniform(12, 100, (n, 1)) * (rng.random((n, 1)) < _CUT)
    return gain_db - slope_db * (np.maximum(below, 0) + np.maximum(above, 0))


def _centres(n_bins: int) -> np.ndarray:
    """Centre of each mel band in Hz."""
    return librosa.mel_frequencies(n_bins + 2, fmax=SAMPLE_RATE / 2, htk=True)[1:-1]
