"""Which bins of the log-mel speak for an emotion, and is that true of the model?

Integrated gradients (Sundararajan, Taly, Yan 2017, arXiv 1703.01365): the picture is faded in from
silence (log-mel 0, the floor), and every bin is credited with what its rise adds to the
log-probability of the emotion. The credits add up to the whole gain. A map that looks convincing
may still be no more than an outline of the sound (Adebayo et al. 2018, arXiv 1810.03292); so the
model is made to forget what it has learned, and its maps must change with it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache

import numpy as np
import pandas as pd

from helpers.features.extract import FeatureSettings
from helpers.models.modelfile import card_settings
from helpers.sound.audio import fit_clip

#: Pictures that go through the body at once; more need more memory and are no faster.
_ROWS = 64


def split_front_end(model):
    """Take a served model apart, as :func:`helpers.models.builders.with_front_end` joined it.

    Parameters
    ----------
    model : keras.Model

    Returns
    -------
    tuple of (keras.Model, keras.Model)
        Front end (waveform to log-mel) and body (log-mel to probabilities).

    Raises
    ------
    ValueError
        There is no log-mel in it.
    """
    layers = [layer for layer in model.layers if type(layer).__name__ != "InputLayer"]
    if [layer.name for layer in layers[:1]] != ["log_mel"] or len(layers) != 2:
        found = ", ".join(layer.name for layer in layers) or "no layers"
        raise ValueError(
            f"model {model.name!r} has no picture to explain: found {found}, expected log_mel and "
            "a body. Models on functionals see one row of figures a clip; take a cnn or lstm"
        )
    return layers[0], layers[1]


def integrate_gradients(
    body, frames: np.ndarray, targets: np.ndarray, *, temperature: float = 1.0, steps: int = 64
) -> tuple[np.ndarray, np.ndarray]:
    """Integrated gradients of log-probabilities against silence, by the midpoint rule.

    Parameters
    ----------
    body : keras.Model
        Log-mel to probabilities.
    frames : np.ndarray, shape (n, n_frames, n_mels)
        dB above the floor.
    targets : np.ndarray of int, shape (n,)
        Class that is explained.
    temperature : float
        Of the model's card: what is explained is the probability that is shown.
    steps : int
        Points on the way from silence to the clip. The sum misses the gain by 2 % on average with
        64, 4 % with 32 (the CNN on RAVDESS).

    Returns
    -------
    attribution : np.ndarray, shape (n, n_frames, n_mels), float32
    gain : np.ndarray, shape (n,)
        Log-probability minus that of silence.

    Raises
    ------
    ValueError
        Less than one step.
    """
    if steps < 1:
        raise ValueError(f"steps={steps}: expected at least 1, such as 64")
    trace = _compile_trace(body)
    # The two ends come along: their values are the gain, and their slopes do not count.
    way = np.concatenate([(np.arange(steps) + 0.5) / steps, [0.0, 1.0]]).astype("float32")
    at_once = max(1, _ROWS // steps)
    credits, gains = [], []
    for start in range(0, len(frames), at_once):
        rows = slice(start, start + at_once)
        batch = np.asarray(frames[rows], "float32"), np.asarray(targets[rows], "int32")
        values, slopes = (x.numpy() for x in trace(*batch, way, np.float32(temperature)))
        credits.append(batch[0] * slopes)
        gains.append(values[:, -1] - values[:, -2])
    return np.concatenate(credits), np.concatenate(gains)


@lru_cache(maxsize=4)
def _compile_trace(body):
    """Values and mean slope along the way, as one graph; building it takes seconds, so it is kept.

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
        values = tf.reshape(values, (-1, tf.size(way)))
        return values, tf.reduce_mean(slopes[:, :-2], 1)

    return trace


def picture_clips(front, waves: Sequence[np.ndarray], settings: FeatureSettings) -> np.ndarray:
    """Log-mel of each clip's loudest ``clip_s`` seconds, shape (n, n_frames, n_mels).

    Raises
    ------
    ValueError
        No clips.
    """
    if not len(waves):
        raise ValueError("no clips to explain: expected at least one waveform")
    fitted = [fit_clip(np.asarray(y, dtype="float32"), settings.n_samples) for y in waves]
    return np.stack([front(y[None]).numpy()[0] for y in fitted])


# ---------------------------------------------------------------------------- is it true?


def randomise_weights(body, rng: np.random.Generator, *, only_last: bool = False):
    """Return a copy of a model whose weights are shuffled: it has learned nothing.

    The values of each weight array change places: what flows through the layers keeps about its
    size, and nothing of its meaning.

    Parameters
    ----------
    body : keras.Model
        Stays as it is.
    rng : np.random.Generator
    only_last : bool
        Shuffle only the last layer that has weights.

    Returns
    -------
    keras.Model
    """
    return _copy_with(body, _shuffled(body, rng, only_last=only_last))


def _copy_with(body, weights: list[np.ndarray]):
    import keras

    copy = keras.models.clone_model(body)
    copy.set_weights(weights)
    return copy


def _shuffled(body, rng: np.random.Generator, *, only_last: bool) -> list[np.ndarray]:
    weights = body.get_weights()
    last = next(layer for layer in reversed(body.layers) if layer.weights)
    first = len(weights) - len(last.weights) if only_last else 0
    mixed = [rng.permutation(value.ravel()).reshape(value.shape) for value in weights[first:]]
    return weights[:first] + mixed


def check_sanity(
    predictor,
    waves: Sequence[np.ndarray],
    *,
    seed: int = 0,
    n_draws: int = 2,
    steps: int = 32,
    attribute: Callable | None = None,
) -> pd.DataFrame:
    """Compare each clip's map with those of the same body after its weights were changed.

    They are nudged by 1 %, shuffled in the last layer, or shuffled in all layers: see
    :func:`randomise_weights`.

    Parameters
    ----------
    predictor : helpers.models.prediction.Predictor
        Its own weights are not touched.
    waves : sequence of np.ndarray
        16 kHz waveforms.
    seed : int
    n_draws : int
        So many different nudges and shuffles.
    steps : int
        See :func:`integrate_gradients`.
    attribute : callable, optional
        Another kind of map, ``attribute(body, frames, targets) -> (n, n_frames, n_mels)``;
        integrated gradients by default.

    Returns
    -------
    pd.DataFrame
        A row a wave, draw and change: ``wave draw weights signed absolute``. The last two are rank
        correlations (Spearman) of the maps and of their absolute values, over the bins with
        sound. Absolute values stay alike to some degree, because no map credits what is not
        there; the sign is what only the weights can give. NaN where a map is the same everywhere.

    Raises
    ------
    ValueError
        No clips, or a model without a picture.
    """
    front, body = split_front_end(predictor.model)
    temperature = predictor.card["temperature"]
    if attribute is None:

        def attribute(body, frames, targets):
            settings = {"temperature": temperature, "steps": steps}
            return integrate_gradients(body, frames, targets, **settings)[0]

    frames = picture_clips(front, waves, card_settings(predictor.card))
    targets = body(frames, training=False).numpy().argmax(axis=1)
    known = np.asarray(attribute(body, frames, targets))
    copy, rng, rows = _copy_with(body, body.get_weights()), np.random.default_rng(seed), []
    for draw in range(n_draws):
        changes = {
            "nudged": [w * (1 + 0.01 * rng.normal(size=w.shape)) for w in body.get_weights()],
            "last layer shuffled": _shuffled(body, rng, only_last=True),
            "all layers shuffled": _shuffled(body, rng, only_last=False),
        }
        for name, weights in changes.items():
            copy.set_weights(weights)
            maps = np.asarray(attribute(copy, frames, targets))
            for wave, sound in enumerate(frames > 0):
                a, b = known[wave][sound], maps[wave][sound]
                rows.append((wave, draw, name, _rank(a, b), _rank(np.abs(a), np.abs(b))))
    return pd.DataFrame(rows, columns=["wave", "draw", "weights", "signed", "absolute"])


def _rank(a: np.ndarray, b: np.ndarray) -> float:
    from scipy.stats import spearmanr

    alike = not (len(a) and np.ptp(a) and np.ptp(b))
    return float("nan") if alike else float(spearmanr(a, b).statistic)


def judge_sanity(table: pd.DataFrame, *, limit: float = 0.3) -> dict:
    """One verdict on the maps, as a row of the checks in ``metrics.json``.

    Parameters
    ----------
    table : pd.DataFrame
        From :func:`check_sanity`.
    limit : float
        Largest median rank correlation, with sign, that may be left when all layers are shuffled.
        The nudged body must stay above ``1 - limit``, or the maps are only noise.

    Returns
    -------
    dict
        ``test measure found limit passed n``; ``n`` counts clips.
    """
    medians = table.groupby("weights")["signed"].median()
    found = float(medians["all layers shuffled"])
    return {
        "test": "explanation follows the weights",
        "measure": "rank correlation with shuffled weights",
        "found": found,
        "limit": limit,
        "passed": bool(found <= limit and medians["nudged"] >= 1 - limit),
        "n": int(table["wave"].nunique()),
    }
