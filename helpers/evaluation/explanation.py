"""What does the model listen to? Its answer, traced back to the sound.

How, and whether it is true of the model, is in :mod:`helpers.evaluation.attribution`. It says what
moved *this model*, not what an emotion sounds like.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from helpers.audio import SAMPLE_RATE
from helpers.evaluation.attribution import (
    check_sanity,
    integrate_gradients,
    judge_sanity,
    picture_clips,
    randomise_weights,
    split_front_end,
)
from helpers.features import FeatureSettings, fit_clip
from helpers.modelfile import card_settings
from helpers.plots import emotion_colors, new_axes

__all__ = [
    "Explanation",
    "check_sanity",
    "explain_clip",
    "judge_sanity",
    "listening_profile",
    "plot_explanation",
    "plot_profile",
    "randomise_weights",
    "split_front_end",
]

_FOR, _AGAINST = "#D55E00", "#0072B2"  # after Okabe & Ito 2008: told apart by the colour-blind


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
    predictor : helpers.prediction.Predictor
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
    predictor : helpers.prediction.Predictor
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
    return _from_mel(np.linspace(0, _to_mel(SAMPLE_RATE / 2), settings.n_mels + 2)[1:-1])


# ---------------------------------------------------------------------------- to look at


def plot_explanation(explanation: Explanation, *, title: str = ""):
    """The log-mel in grey, and over it in colour what spoke for the emotion and what against.

    For display only, the attribution is smoothed with a Gaussian (a standard deviation of two
    frames and one band), and the colour is full at the strongest 0.2 % of the bins. The strips
    above and at the side are its sums over frequency and over time.

    Parameters
    ----------
    explanation : Explanation
    title : str

    Returns
    -------
    matplotlib.figure.Figure
    """
    from matplotlib.figure import Figure  # not pyplot: nothing to close, nothing shown twice
    from scipy.ndimage import gaussian_filter

    frames, settings = explanation.frames, explanation.settings
    step_s = settings.hop / SAMPLE_RATE
    credit = gaussian_filter(explanation.attribution, (2, 1))
    full = np.quantile(np.abs(credit), 0.998) or 1.0
    figure = Figure(figsize=(10, 4.6), layout="constrained")
    axes = figure.subplots(
        2, 2, height_ratios=(1, 4), width_ratios=(9, 1), sharex="col", sharey="row"
    )
    (above, empty), (picture, side) = axes
    empty.set_axis_off()
    extent = (-step_s / 2, (len(frames) - 0.5) * step_s, -0.5, frames.shape[1] - 0.5)
    look = {"origin": "lower", "aspect": "auto", "extent": extent}
    # Not down to black: the colours must be seen on the loudest bins as well.
    picture.imshow(frames.T, cmap="Greys", vmin=0, vmax=1.35 * settings.range_db, **look)
    colored = picture.imshow(credit.T / full, cmap=_two_colors(), vmin=-1, vmax=1, **look)
    time_s, bands = np.arange(len(frames)) * step_s, np.arange(frames.shape[1])
    _fill(above.fill_between, time_s, credit.sum(axis=1))
    _fill(side.fill_betweenx, bands, credit.sum(axis=0))
    places, labels = _mel_ticks(settings)
    picture.set_yticks(places, labels)
    picture.set(xlabel="time (s)", ylabel="mel frequency (Hz)", xlim=(0, settings.clip_s))
    above.set(yticks=[], ylabel="over\nfrequency", title=title)
    side.set(xticks=[], xlabel="over time")
    bar = figure.colorbar(colored, ax=axes, pad=0.01, aspect=30, ticks=[-1, 0, 1])
    bar.ax.set_yticklabels(["against", "0", "for"])
    bar.set_label(f"what speaks for {explanation.emotion}, what against")
    return figure


def plot_profile(profile: pd.DataFrame, *, ax=None, title: str = ""):
    """Share of the attribution over frequency, a line an emotion in its colour.

    For display only, each line is smoothed with a Gaussian (a standard deviation of one band).

    Parameters
    ----------
    profile : pd.DataFrame
        From :func:`listening_profile`.
    ax : matplotlib.axes.Axes, optional
    title : str

    Returns
    -------
    matplotlib.axes.Axes
    """
    from scipy.ndimage import gaussian_filter1d

    ax = new_axes(ax, figsize=(9, 3.2))
    for name, color in emotion_colors(list(profile)).items():
        smooth = gaussian_filter1d(profile[name], 1.0, mode="nearest")
        ax.plot(profile.index, 100 * smooth, color=color, label=name)
    ax.axhline(100 / len(profile), color="#999999", linestyle=":", linewidth=1)
    ax.text(SAMPLE_RATE / 2, 100 / len(profile), "all alike ", color="#767676", fontsize=8,
            ha="right", va="bottom")  # fmt: skip
    ax.set_xscale("function", functions=(_to_mel, _from_mel))
    ax.set_xticks(_TICKS_HZ, [str(hz) for hz in _TICKS_HZ])
    ax.set(xlabel="mel frequency (Hz)", ylabel="share a mel band (%)", title=title)
    ax.set(xlim=(0, SAMPLE_RATE / 2), ylim=(0, None))
    ax.legend(loc="upper left", bbox_to_anchor=(1, 1))
    return ax


_TICKS_HZ = (125, 250, 500, 1000, 2000, 4000, 8000)


def _mel_ticks(settings: FeatureSettings) -> tuple[list[float], list[str]]:
    """Places of round frequencies among the bands, counted from 0, and their labels."""
    step = _to_mel(SAMPLE_RATE / 2) / (settings.n_mels + 1)
    return [_to_mel(hz) / step - 1 for hz in _TICKS_HZ], [str(hz) for hz in _TICKS_HZ]


def _to_mel(hz):
    return 2595 * np.log10(1 + np.asarray(hz) / 700)


def _from_mel(mel):
    return 700 * (10 ** (np.asarray(mel) / 2595) - 1)


def _two_colors():
    """From blue over transparent to orange; what counts little leaves the grey below as it is."""
    from matplotlib.colors import ListedColormap, to_rgb

    strength = np.linspace(-1, 1, 255)
    opacity = 0.95 * np.abs(strength[:, None]) ** 1.4
    hues = np.where(strength[:, None] > 0, to_rgb(_FOR), to_rgb(_AGAINST))
    return ListedColormap(np.hstack([hues, opacity]), name="against_for")


def _fill(draw: Callable, place: np.ndarray, credit: np.ndarray) -> None:
    for color, part in ((_FOR, np.maximum(credit, 0)), (_AGAINST, np.minimum(credit, 0))):
        draw(place, part, color=color, linewidth=0)
