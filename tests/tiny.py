"""Small things that several test files build: sounds, and a model that is quick to make."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import soundfile

from helpers.features.extract import FeatureSettings
from helpers.sound.audio import SAMPLE_RATE

#: Not in display order, so that a mix-up of order would show.
CLASSES = ["sad", "neutral", "angry"]
SETTINGS = FeatureSettings(clip_s=1.0, n_mels=16)


def touch(root: Path, *names: str) -> Path:
    """Make empty files below ``root``; loaders of corpora read their names only."""
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


def tone(hz: float = 220.0, *, duration_s: float = 0.6, peak: float = 0.4) -> np.ndarray:
    """A sine with some noise, 16 kHz."""
    time_s = np.arange(round(duration_s * SAMPLE_RATE)) / SAMPLE_RATE
    noise = np.random.default_rng(int(hz)).normal(0, 0.01, len(time_s))
    return (peak * np.sin(2 * np.pi * hz * time_s) + noise).astype("float32")


def write_tone(path: Path, hz: float = 220.0, **shape: float) -> Path:
    """Write :func:`tone` as a 16-bit file; the folder is made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, tone(hz, **shape), SAMPLE_RATE)
    return path


def voice(hz: float = 220.0, *, duration_s: float = 0.6, peak: float = 0.4) -> np.ndarray:
    """What is taken for speech: a pitch that glides, and syllables; most of it lies at ``hz``."""
    time_s = np.arange(round(duration_s * SAMPLE_RATE)) / SAMPLE_RATE
    pitch = 150 * 2 ** (0.3 * np.sin(4 * np.pi * time_s))
    turns = np.cumsum(pitch) / SAMPLE_RATE
    mouth = hz + np.where(np.sin(8 * np.pi * time_s) > 0, 0, 1200)
    y = np.zeros(len(time_s))
    for k in range(1, 50):
        loud = 0.2 / k + np.exp(-(((k * pitch - mouth) / 250) ** 2))
        y += loud * np.sin(2 * np.pi * k * turns)
    noise = np.random.default_rng(int(hz)).normal(0, 0.01, len(time_s))
    return (peak * y / np.abs(y).max() + noise).astype("float32")


def write_voice(path: Path, hz: float = 220.0, **shape: float) -> Path:
    """Write :func:`voice` as a 16-bit file."""
    soundfile.write(path, voice(hz, **shape), SAMPLE_RATE)
    return path


def write_large(path: Path) -> Path:
    """Write 52 MB of noise, 27 minutes: more than any panel takes."""
    noise = np.random.default_rng(0).integers(-1000, 1000, 26_000_000, "int16")
    soundfile.write(path, noise, SAMPLE_RATE)
    return path


def build_tiny_body(n_classes: int = len(CLASSES)):
    """A body on log-mel frames whose answer depends on the sound: mean spectrum, then softmax."""
    from keras import Input, Model, initializers, layers

    inputs = Input((None, SETTINGS.n_mels))
    x = layers.GlobalAveragePooling1D()(layers.Rescaling(1 / 40)(inputs))
    start = initializers.RandomNormal(stddev=1.0, seed=0)
    return Model(inputs, layers.Dense(n_classes, "softmax", kernel_initializer=start)(x), name="t")


def build_tiny_model():
    """Raw waveform in, three probabilities out."""
    from helpers.models.builders import with_front_end
    from helpers.models.training import prepare_keras

    prepare_keras(0)
    return with_front_end(build_tiny_body(), SETTINGS)
