"""What does the model listen to? Its answer, traced back to the sound.

How, and whether it is true of the model, is in :mod:`helpers.evaluation.attribution`. It says what
moved *this model*, not what an emotion sounds like.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from helpers.evaluation.attribution import (
    check_sanity,
    integrate_gradients,
    judge_sanity,
    picture_clips,
    randomise_weights,
    split_front_end,
)
from helpers.features.extract import FeatureSettings
from helpers.models.modelfile import card_settings
from helpers.sound.audio import SAMPLE_RATE, fit_clip

__all__ = [
    "Explanation",
    "check_sanity",
    "explain_clip",
    "judge_sanity",
    "listening_profile",
    "randomise_weights",
    "split_front_end",
]


@dataclass(frozen=True, eq=False)
class Explanation:
    """What a model heard in one clip, and how each bin of it counted.

    Attributes
    ----------
    emotion : str
        The one that is explained.
    probabilities : pd.Series
        Calibrated probability of each emotion for the stretch ``y``.
    frames : np.ndarray, shape (n_frames, n_mels)
        The log-mel inside the model, dB above the floor.
    attribution : np.ndarray, shape (n_frames, n_mels)
        What each bin adds to the natural logarithm of the emotion's probability; negative where
        it speaks against it. A bin at the floor has none.
    gain : float
        Log-probability of the emotion minus that in silence: what ``attribution`` adds up to, but
        for the finite number of steps.
    y : np.ndarray, shape (n_samples,), float32
        The stretch of the waveform that ``frames`` shows, 16 kHz: what is seen is what is heard.
    settings : FeatureSettings
    """

    emotion: str
    probabilities: pd.Series
    frames: np.ndarray
    attribution: np.ndarray
    gain: float
    y: np.ndarray
    settings: FeatureSettings


def explain_clip(
    predictor, y: np.ndarray, *, emotion: str | None = None, steps: int = 64
) -> Explanation:
    """Trace a model's answer back to the clip.

    Only one stretch is explained, that of ``clip_s`` seconds with the most energy. Up to twice
    that length it is what the predictor itself listens to. A longer recording is answered from
    many windows; then the probabilities here are those of this stretch alone.

    Parameters
    ----------
    predictor : helpers.models.prediction.Predictor
    y : np.ndarray, shape (n,), float32
        16 kHz waveform.
    emotion : str, optional
        Which emotion to explain; the likeliest by default.
    steps : int
        See :func:`~helpers.evaluation.attribution.integrate_gradients`.

    Returns
    -------
    Explanation

    Raises
    ------
    ValueError
        The model does not take a waveform, or does not know the emotion.
    """
    front, body = split_front_end(predictor.model)
    settings = card_settings(predictor.card)
    heard = fit_clip(np.asarray(y, dtype="float32"), settings.n_samples)
    values = predictor.probabilities(heard[None])[0]
    probabilities = pd.Series(values, pd.Index(predictor.classes, name="emotion"))
    emotion = str(probabilities.idxmax()) if emotion is None else emotion
    targets = _find_classes(predictor, [emotion])
    frames = front(heard[None]).numpy()
    attribution, gain = integrate_gradients(
        body, frames, targets, temperature=predictor.card["temperature"], steps=steps
    )
    return Explanation(
        emotion, probabilities, frames[0], attribution[0], float(gain[0]), heard, settings
    )


def listening_profile(
    predictor, waves: Sequence[np.ndarray], emotions: Sequence[str], *, steps: int = 16
) -> pd.DataFrame:
    """Where in frequency a model listens, on average over clips.

    Parameters
    ----------
    predictor : helpers.models.prediction.Predictor
    waves : sequence of np.ndarray
        16 kHz waveforms.
    emotions : sequence of str
        Which emotion to explain in each, usually the true one.
    steps : int
        As in :func:`explain_clip`; a mean over clips needs fewer than one clip.

    Returns
    -------
    pd.DataFrame
        Index ``band_hz``, the centre of each mel band; a column an emotion, in the model's order.
        Each column is the share of all absolute attribution, for or against, and sums to 1. A
        band without sound has none: the profile follows the voices as well as the model.

    Raises
    ------
    ValueError
        No clips, an unknown emotion, or a model without a picture.
    """
    if len(waves) != len(emotions):
        raise ValueError(f"{len(waves)} waves and {len(emotions)} emotions: expected as many")
    front, body = split_front_end(predictor.model)
    targets = _find_classes(predictor, emotions)
    settings = card_settings(predictor.card)
    frames = picture_clips(front, waves, settings)
    credit, _ = integrate_gradients(
        body, frames, targets, temperature=predictor.card["temperature"], steps=steps
    )
    bands = np.abs(credit).sum(axis=1)
    shares = pd.DataFrame(bands / np.maximum(bands.sum(axis=1, keepdims=True), 1e-12))
    shares.columns = pd.Index(_band_centres(settings), name="band_hz")
    profile = shares.groupby(np.asarray(emotions, dtype=object)).mean().T
    return profile[[name for name in predictor.classes if name in profile]]


def _find_classes(predictor, emotions: Sequence[str]) -> np.ndarray:
    """Place of each emotion among the model's outputs."""
    unknown = sorted({str(name) for name in emotions} - set(predictor.classes))
    if unknown:
        raise ValueError(
            f"emotion {', '.join(map(repr, unknown))}: expected one that the model knows: "
            f"{', '.join(predictor.classes)}"
        )
    return np.array([predictor.classes.index(name) for name in emotions])


def _band_centres(settings: FeatureSettings) -> np.ndarray:
    """Centre of each band of the front end's (HTK) mel scale in Hz, shape (n_mels,)."""
    import librosa

    edges = librosa.mel_frequencies(settings.n_mels + 2, fmin=0, fmax=SAMPLE_RATE / 2, htk=True)
    return edges[1:-1]
