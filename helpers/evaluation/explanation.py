"""What does the model listen to? Its answer, traced back to the sound.

Integrated gradients (Sundararajan, Taly, Yan 2017, arXiv 1703.01365): the picture is faded in from
silence (log-mel 0, the floor), and every bin is credited with what its rise adds to the
log-probability of the emotion. The credits add up to the whole gain. They say what moved *this
model*, not what an emotion sounds like.

A map that looks convincing may still be no more than an outline of the sound (Adebayo et al. 2018,
arXiv 1810.03292); so the model is made to forget what it has learned, and its maps must change.
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
_STEPS_SANITY = 32  # 4 %: maps are only compared
_ROWS = 64  # pictures that go through the body at once; more need memory and are no faster
_DRAWS = 2  # different nudges and shuffles of the weights
_MAX_RANK = 0.3  # that may be left when all layers are shuffled


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


def check_sanity(predictor, waves: Sequence[np.ndarray], *, seed: int = 0) -> pd.DataFrame:
    """Compare each clip's map with those of the same body after its weights were changed.

    They are nudged by 1 %, shuffled in the last layer, or shuffled in all layers. When the values
    of a weight array change places, what flows through the layers keeps about its size, and nothing
    of its meaning.

    Parameters
    ----------
    predictor : helpers.models.prediction.Predictor
        Its own weights are not touched.
    waves : sequence of np.ndarray
        16 kHz waveforms.

    Returns
    -------
    pd.DataFrame
        One row per wave, draw and change: ``wave draw weights signed absolute``. The last two are
        rank correlations (Spearman) of the maps and of their absolute values, over the bins with
        sound. Absolute values stay alike to some degree, because no map credits what is not
        there; the sign is what only the weights can give. NaN where a map is the same everywhere.

    Raises
    ------
    UserError
        The model does not take a waveform.
    """
    import keras

    body, frames = _picture_clips(predictor, waves)
    targets = body(frames, training=False).numpy().argmax(axis=1)
    look = {"temperature": predictor.card["temperature"], "steps": _STEPS_SANITY}
    known = integrate_gradients(body, frames, targets, **look)
    copy = keras.models.clone_model(body)
    rng = np.random.default_rng(seed)
    rows = []
    for draw in range(_DRAWS):
        changes = {
            "nudged": [w * (1 + 0.01 * rng.normal(size=w.shape)) for w in body.get_weights()],
            "last layer shuffled": _shuffle_weights(body, rng, only_last=True),
            "all layers shuffled": _shuffle_weights(body, rng, only_last=False),
        }
        for name, weights in changes.items():
            copy.set_weights(weights)
            maps = integrate_gradients(copy, frames, targets, **look)
            for wave, sound in enumerate(frames > 0):
                a, b = known[wave][sound], maps[wave][sound]
                rows.append((wave, draw, name, _rank(a, b), _rank(np.abs(a), np.abs(b))))
    return pd.DataFrame(rows, columns=["wave", "draw", "weights", "signed", "absolute"])


def _shuffle_weights(body, rng: np.random.Generator, *, only_last: bool) -> list[np.ndarray]:
    """Weights of a body that has learned nothing, or whose last layer has not."""
    weights = body.get_weights()
    last = next(layer for layer in reversed(body.layers) if layer.weights)
    first = len(weights) - len(last.weights) if only_last else 0
    mixed = [rng.permutation(value.ravel()).reshape(value.shape) for value in weights[first:]]
    return weights[:first] + mixed


def _rank(a: np.ndarray, b: np.ndarray) -> float:
    """Spearman's rank correlation, NaN where one side is the same everywhere."""
    from scipy.stats import spearmanr

    if not (len(a) and np.ptp(a) and np.ptp(b)):
        return float("nan")
    return float(spearmanr(a, b).statistic)


def judge_sanity(table: pd.DataFrame) -> dict:
    """One verdict on the maps, as a row of the checks in ``metrics.json``.

    The median rank correlation, with sign, may be at most 0.3 when all layers are shuffled. That
    of the nudged body must stay above 0.7, or the maps are only noise.

    The table is that of :func:`check_sanity`; ``n`` counts clips.
    """
    medians = table.groupby("weights")["signed"].median()
    found = float(medians["all layers shuffled"])
    return {
        "test": "explanation follows the weights",
        "measure": "rank correlation with shuffled weights",
        "found": found,
        "limit": _MAX_RANK,
        "passed": bool(found <= _MAX_RANK and medians["nudged"] >= 1 - _MAX_RANK),
        "n": int(table["wave"].nunique()),
    }
