"""What does the model listen to? Its answer, traced back to the sound.

Integrated gradients (Sundararajan, Taly, Yan 2017, arXiv 1703.01365): the picture is faded in from
silence (log-mel 0, the floor), and every bin is credited with what its rise adds to the
log-probability of the emotion. The credits add up to the whole gain. They say what moved *this
model*, not what an emotion sounds like.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import pandas as pd

from helpers.errors import UserError
from helpers.features.extract import FeatureSettings
from helpers.sound.audio import SAMPLE_RATE, fit_clip

_STEPS = 64  # from silence to one clip: the sum misses the gain by 2 % (the CNN on RAVDESS)
_STEPS_MANY = 16  # a mean over clips needs fewer
_ROWS = 64  # pictures that go through the body at once; more need memory and are no faster


@dataclass(frozen=True, eq=False)
class Explanation:
    """What a model heard in one clip, and how each bin of it counted.

    Attributes
    ----------
    emotion : str
        The one that is explained.
    frames : np.ndarray, shape (n_frames, n_mels)
        The log-mel inside the model, dB above the floor.
    attribution : np.ndarray, shape (n_frames, n_mels)
        What each bin adds to the natural logarithm of the emotion's probability; negative where
        it speaks against it. A bin at the floor has none. All together, they add up to what the
        sound adds to silence, but for the finite number of steps.
    y : np.ndarray, shape (n_samples,), float32
        The stretch of the waveform that ``frames`` shows, 16 kHz: what is seen is what is heard.
    settings : FeatureSettings
    """

    emotion: str
    frames: np.ndarray
    attribution: np.ndarray
    y: np.ndarray
    settings: FeatureSettings


def explain_clip(predictor, y: np.ndarray) -> Explanation:
    """Trace a model's answer back to the clip.

    Only one stretch is explained, that of ``clip_s`` seconds with the most energy. Up to twice
    that length it is what the predictor itself listens to. A longer recording is answered from
    many windows; then the emotion here is that of this stretch alone.

    Parameters
    ----------
    predictor : helpers.models.prediction.Predictor
    y : np.ndarray, shape (n,), float32
        16 kHz waveform.

    Returns
    -------
    Explanation
        Of the likeliest emotion.

    Raises
    ------
    UserError
        The model does not take a waveform.
    """
    body, frames = _picture_clips(predictor, [y])
    heard = fit_clip(np.asarray(y, dtype="float32"), predictor.settings.n_samples)
    targets = predictor.probabilities(heard[None]).argmax(axis=1)
    temperature = predictor.card["temperature"]
    attribution = integrate_gradients(body, frames, targets, temperature=temperature)
    emotion = predictor.classes[targets[0]]
    return Explanation(emotion, frames[0], attribution[0], heard, predictor.settings)


def listening_profile(
    predictor, waves: Sequence[np.ndarray], emotions: Sequence[str]
) -> pd.DataFrame:
    """Where in frequency a model listens, on average over clips.

    Parameters
    ----------
    predictor : helpers.models.prediction.Predictor
    waves, emotions : sequence of np.ndarray, sequence of str
        16 kHz waveforms, and which emotion to explain in each, usually the true one.

    Returns
    -------
    pd.DataFrame
        Index ``band_hz``, the centre of each mel band; one column per emotion, in the model's
        order. Each column is the share of all absolute attribution, for or against, and sums to 1.
        A band without sound has none: the profile follows the voices as well as the model.

    Raises
    ------
    UserError
        The model does not take a waveform.
    """
    import librosa

    body, frames = _picture_clips(predictor, waves)
    targets = np.array([predictor.classes.index(name) for name in emotions])
    look = {"temperature": predictor.card["temperature"], "steps": _STEPS_MANY}
    credit = integrate_gradients(body, frames, targets, **look)
    bands = np.abs(credit).sum(axis=1)
    shares = pd.DataFrame(bands / np.maximum(bands.sum(axis=1, keepdims=True), 1e-12))
    n_edges = predictor.settings.n_mels + 2
    edges = librosa.mel_frequencies(n_edges, fmin=0, fmax=SAMPLE_RATE / 2, htk=True)
    shares.columns = pd.Index(edges[1:-1], name="band_hz")
    profile = shares.groupby(np.asarray(emotions, dtype=object)).mean().T
    return profile[[name for name in predictor.classes if name in profile]]


def _picture_clips(predictor, waves: Sequence[np.ndarray]) -> tuple:
    """Body of the model (log-mel to probabilities), and what it sees of each clip.

    That is the log-mel of the loudest ``clip_s`` seconds, shape (n, n_frames, n_mels).
    """
    model = predictor.model
    layers = [layer for layer in model.layers if type(layer).__name__ != "InputLayer"]
    names = [layer.name for layer in layers]
    if len(layers) != 2 or names[0] != "log_mel":
        raise UserError(
            f"model {model.name!r} has no picture to explain: found {', '.join(names)}, expected "
            "log_mel and a body. Models on functionals see one row of figures per clip; take a cnn "
            "or lstm"
        )
    front, body = layers
    pictures = []
    for y in waves:
        fitted = fit_clip(np.asarray(y, dtype="float32"), predictor.settings.n_samples)
        pictures.append(front(fitted[None]).numpy()[0])
    return body, np.stack(pictures)


def integrate_gradients(
    body, frames: np.ndarray, targets: np.ndarray, *, temperature: float, steps: int = _STEPS
) -> np.ndarray:
    """Integrated gradients of log-probabilities against silence, by the midpoint rule.

    Parameters
    ----------
    body : keras.Model
        Log-mel to probabilities.
    frames, targets : np.ndarray, shapes (n, n_frames, n_mels) and (n,)
        dB above the floor, and the number of the class that is explained.
    temperature : float
        Of the model's card: what is explained is the probability that is shown.
    steps : int
        Points on the way from silence to the clip.

    Returns
    -------
    np.ndarray, shape (n, n_frames, n_mels), float32
        Those of a clip add up to its log-probability minus that of silence.
    """
    trace = _compile_trace(body)
    way = ((np.arange(steps) + 0.5) / steps).astype("float32")
    at_once = max(1, _ROWS // steps)
    credits = []
    for start in range(0, len(frames), at_once):
        pictures = np.asarray(frames[start : start + at_once], "float32")
        classes = np.asarray(targets[start : start + at_once], "int32")
        slopes = trace(pictures, classes, way, np.float32(temperature))
        credits.append(pictures * slopes.numpy())
    return np.concatenate(credits)


@lru_cache(maxsize=4)
def _compile_trace(body):
    """Mean slope along the way, as one graph; building it takes seconds, so it is kept.

    The graph reads the body's weights when it is called: changed weights need no new one.
    """
    import tensorflow as tf

    n_mels = body.input_shape[-1]

    @tf.function(
        input_signature=[
            tf.TensorSpec((None, None, n_mels), tf.float32),
            tf.TensorSpec((None,), tf.int32),
            tf.TensorSpec((None,), tf.float32),
            tf.TensorSpec((), tf.float32),
        ]
    )
    def trace(frames, targets, way, temperature):
        points = way[None, :, None, None] * frames[:, None]
        flat = tf.reshape(points, (-1, tf.shape(frames)[1], n_mels))
        with tf.GradientTape() as tape:
            tape.watch(flat)
            # Far above the smallest float: the logarithm and its slope stay finite.
            logits = tf.math.log(body(flat, training=False) + 1e-30) / temperature
            every = tf.repeat(targets, tf.size(way))
            values = tf.gather(tf.nn.log_softmax(logits), every, batch_dims=1)
        slopes = tf.reshape(tape.gradient(values, flat), tf.shape(points))
        return tf.reduce_mean(slopes, 1)

    return trace
