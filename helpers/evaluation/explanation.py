"""What does the model listen to? Its answer, traced back to the sound.

Integrated gradients (Sundararajan, Taly, Yan 2017, arXiv 1703.01365): the picture is faded in from
silence (log-mel 0, the floor), and every bin is credited with what its rise adds to the
log-probability of the emotion. The credits add up to the whole gain. They say what moved *this
model*, not what an emotion sounds like.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from helpers.errors import UserError
from helpers.features.extract import FeatureSettings
from helpers.sound.audio import fit_clip

_STEPS = 64  # from silence to one clip: the sum misses the gain by 2 % (the CNN on RAVDESS)


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
    body, y, frames = _picture_clip(predictor, y)
    target = predictor.probabilities(y[None])[0].argmax()
    credit = integrate_gradients(body, frames, target, temperature=predictor.card["temperature"])
    return Explanation(predictor.classes[target], frames, credit, y, predictor.settings)


def _picture_clip(predictor, y: np.ndarray) -> tuple:
    """Body of the model (log-mel to probabilities), the stretch that it hears, and its log-mel."""
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
    heard = fit_clip(np.asarray(y, dtype="float32"), predictor.settings.n_samples)
    return body, heard, front(heard[None]).numpy()[0]


def integrate_gradients(body, frames: np.ndarray, target: int, *, temperature: float) -> np.ndarray:
    """Integrated gradients of class ``target`` against silence, by the midpoint rule.

    ``body`` turns log-mel ``frames`` (n_frames, n_mels), float32, into probabilities; the card's
    ``temperature`` makes them those that are shown. The credits have the shape of the frames and
    add up to the log-probability of the clip minus that of silence.
    """
    way = ((np.arange(_STEPS) + 0.5) / _STEPS).astype("float32")
    mean_slope = _compile_trace(body)
    return frames * mean_slope(frames, np.int32(target), way, np.float32(temperature)).numpy()


@lru_cache(maxsize=4)
def _compile_trace(body):
    """Mean slope along the way, as one graph; building it takes seconds, so it is kept.

    The graph reads the body's weights when it is called: changed weights need no new one.
    """
    import tensorflow as tf

    @tf.function(
        input_signature=[
            tf.TensorSpec((None, body.input_shape[-1]), tf.float32),
            tf.TensorSpec((), tf.int32),
            tf.TensorSpec((None,), tf.float32),
            tf.TensorSpec((), tf.float32),
        ]
    )
    def trace(frames, target, way, temperature):
        points = way[:, None, None] * frames
        with tf.GradientTape() as tape:
            tape.watch(points)
            # Far above the smallest float: the logarithm and its slope stay finite.
            logits = tf.math.log(body(points, training=False) + 1e-30) / temperature
            values = tf.nn.log_softmax(logits)[:, target]
        return tf.reduce_mean(tape.gradient(values, points), 0)

    return trace
