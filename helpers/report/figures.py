"""Figures of notebook 06: calibration, groups, corpora, robustness, explanation; and of a clip.

Look, colours, ``ax`` and ``title`` are those of :mod:`helpers.report.plots`. Two that need a whole
figure take no ``ax`` and return the figure.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from IPython.display import HTML

from helpers.evaluation.explanation import Explanation
from helpers.evaluation.robustness import AS_RECORDED
from helpers.features.extract import Analysis, FeatureSettings
from helpers.report import plots
from helpers.report.pages import embed_figure
from helpers.report.plots import new_axes, plot_intervals
from helpers.sound.audio import SAMPLE_RATE

_BLUE, _ORANGE, _GREY = "#0072B2", "#D55E00", "#767676"  # Okabe & Ito 2008


def plot_reliability(curves: dict[str, pd.DataFrame], *, ax=None, title: str = ""):
    """Accuracy against confidence; an honest model lies on the diagonal.

    The curves are label → result of :func:`helpers.evaluation.calibration.measure_reliability`, at
    most two. The size of a dot is the number of its clips.
    """
    ax = new_axes(ax, figsize=(4.5, 4))
    ax.plot([0, 1], [0, 1], color="#BBBBBB", linestyle=":")
    ax.annotate("honest", (0.5, 0.5), ha="right", va="bottom", color=_GREY, fontsize=8)
    looks = ((_ORANGE, "s"), (_BLUE, "o"))
    for (label, bins), (color, marker) in zip(curves.items(), looks, strict=False):
        ax.plot(bins["confidence"], bins["accuracy"], color=color, linewidth=1, alpha=0.6)
        size = 15 + 250 * bins["clips"] / bins["clips"].sum()
        ax.scatter(bins["confidence"], bins["accuracy"], size, color, marker=marker, alpha=0.8,
                   label=label)  # fmt: skip
    ax.set(xlim=(0, 1), ylim=(-0.03, 1.03), ylabel="share that was right")
    ax.set_xlabel("confidence (larger dot: more clips)")
    ax.set_title(title)
    ax.legend(loc="upper left", markerscale=0.6)
    return ax


def plot_coverage(
    curve: pd.DataFrame, *, threshold: float, target: float, ax=None, title: str = ""
):
    """Accuracy of the answers given against the share of clips that get one.

    The curve is that of :func:`helpers.evaluation.calibration.measure_coverage`. A dot marks the
    threshold that the model uses; ``target`` is the accuracy for which it was chosen.
    """
    ax = new_axes(ax, figsize=(4.5, 4))
    shown = curve[curve["clips"] >= min(10, curve["clips"].max())]  # of fewer, all is chance
    ax.plot(shown["coverage"], shown["accuracy"], color=_BLUE)
    ax.axhline(target, color=_GREY, linestyle=":", linewidth=1)
    ax.annotate("aimed at", (0.01, target), xycoords=("axes fraction", "data"), va="bottom",
                color=_GREY, fontsize=8)  # fmt: skip
    used = curve[curve["threshold"] >= threshold]
    if len(used):
        ax.plot(used["coverage"].iloc[0], used["accuracy"].iloc[0], "o", color=_ORANGE,
                markersize=9, label=f"not sure below {threshold:.2f}")  # fmt: skip
        ax.legend(loc="lower left")
    ax.set(xlim=(0, 1.02), ylim=(0, 1.03), xlabel="share of clips that get an answer")
    ax.set(ylabel="share of the answers that are right", title=title)
    return ax


def plot_groups(groups: pd.DataFrame, *, ax=None, title: str = ""):
    """UAR of every group of :func:`helpers.evaluation.groups.score_groups`, with its interval."""
    rows = groups.sort_values(["grouping", "uar"], ascending=[True, False])
    size = rows["n"].astype(str) + ", speakers " + rows["n_speakers"].astype(str)
    rows = rows.set_index(rows["grouping"] + ": " + rows["group"] + "  (n " + size + ")")
    return plot_intervals(rows["uar"].rename("UAR"), rows["low"], rows["high"], ax=ax, title=title)


_FOR, _AGAINST = _ORANGE, _BLUE
_TICKS_HZ = (125, 250, 500, 1000, 2000, 4000, 8000)
#: A level, and the groups of conditions that have it.
_CURVES = {
    "signal-to-noise ratio (dB)": ("white noise", "babble", "music"),
    "bit rate (kbit/s)": ("MP3", "AAC", "Opus"),
    "heard from the onset of the voice (s)": ("first",),
}
_PASSED = {True: "within its limits", False: "beyond a limit", None: "no limit"}


def plot_robustness(table: pd.DataFrame, *, chance: float, title: str = ""):
    """Curves of UAR against noise, bit rate and time on the left; every condition on the right.

    The table is that of :func:`helpers.evaluation.robustness.measure_robustness`; ``chance`` is the
    UAR of guessing.
    """
    import matplotlib.pyplot as plt
    import seaborn

    recorded = table.loc[0, "uar"]
    changed = table[table["group"] != AS_RECORDED]
    figure = plt.figure(figsize=(11, max(4, 1.2 + 0.17 * len(changed))), layout="constrained")
    grid = figure.add_gridspec(len(_CURVES), 2, width_ratios=(1, 1.25))
    for place, (label, groups) in enumerate(_CURVES.items()):
        ax = figure.add_subplot(grid[place, 0])
        rows = changed[changed["group"].isin(groups)]
        look = {"hue": "group", "style": "group", "palette": "colorblind", "markers": True}
        seaborn.lineplot(rows, x="level", y="uar", ax=ax, **look)
        for name, value, line in (("as recorded", recorded, "-"), ("chance", chance, ":")):
            ax.axhline(value, color=_GREY, linewidth=1, linestyle=line)
            ax.annotate(name, (1, value), xycoords=("axes fraction", "data"), ha="right",
                        va="bottom", color=_GREY, fontsize=8)  # fmt: skip
        ax.set(xlabel=label, ylabel="UAR", ylim=(0, 1.02))
        ax.legend(loc="lower left", ncols=3, bbox_to_anchor=(0, 0.99), fontsize=8)
    ax = figure.add_subplot(grid[:, 1])
    kinds = changed["passed"].map(lambda passed: _PASSED[passed]).rename("")
    palette = dict(zip(_PASSED.values(), (_BLUE, _ORANGE, _GREY), strict=True))
    markers = dict(zip(_PASSED.values(), "oXD", strict=True))
    look = {"hue": kinds, "style": kinds, "palette": palette, "markers": markers, "s": 45}
    seaborn.scatterplot(changed, x="same", y="condition", ax=ax, zorder=3, **look)
    ax.scatter(changed["needed_same"], changed["condition"], marker="|", s=110, color="black",
               label="limit of this share")  # fmt: skip
    ax.tick_params(axis="y", labelsize=8)
    ax.grid(axis="y", color="#EEEEEE", zorder=0)
    ax.set(xlim=(0, 1.03), xlabel="share of clips whose predicted emotion stays the same")
    ax.set(ylabel="", ylim=(len(changed), -1))
    ax.legend(loc="lower left", ncols=4, bbox_to_anchor=(-0.02, 1.0), fontsize=8)
    figure.suptitle(title, x=0.01, ha="left", fontsize=11, fontweight="bold")
    return figure


def plot_explanation(explanation: Explanation, *, title: str = ""):
    """The log-mel in grey, and over it in colour what spoke for the emotion and what against.

    For display only, the attribution is smoothed with a Gaussian (a standard deviation of two
    frames and one band), and the colour is full at the strongest 0.2 % of the bins.
    """
    import librosa
    from matplotlib.colors import LinearSegmentedColormap
    from matplotlib.figure import Figure  # not pyplot: nothing to close, nothing shown twice
    from scipy.ndimage import gaussian_filter

    frames, settings = explanation.frames, explanation.settings
    step_s = settings.hop / SAMPLE_RATE
    credit = gaussian_filter(explanation.attribution, (2, 1))
    full = np.quantile(np.abs(credit), 0.998) or 1.0
    figure = Figure(figsize=(10, 4), layout="constrained")
    ax = figure.subplots()
    extent = (-step_s / 2, (len(frames) - 0.5) * step_s, -0.5, frames.shape[1] - 0.5)
    look: dict = {"origin": "lower", "aspect": "auto", "extent": extent}
    # Not down to black: the colours must be seen on the loudest bins as well.
    ax.imshow(frames.T, cmap="Greys", vmin=0, vmax=1.35 * settings.range_db, **look)
    # What counts little leaves the grey below as it is.
    colors = LinearSegmentedColormap.from_list("", [_AGAINST, "#FFFFFF00", _FOR], N=255)
    colored = ax.imshow(credit.T / full, cmap=colors, vmin=-1, vmax=1, **look)
    band = librosa.hz_to_mel(SAMPLE_RATE / 2, htk=True) / (settings.n_mels + 1)
    ax.set_yticks(librosa.hz_to_mel(_TICKS_HZ, htk=True) / band - 1, map(str, _TICKS_HZ))
    ax.set(xlabel="time (s)", ylabel="mel frequency (Hz)", xlim=(0, settings.clip_s), title=title)
    bar = figure.colorbar(colored, ax=ax, pad=0.01, aspect=30, ticks=[-1, 0, 1])
    bar.ax.set_yticklabels(["against", "0", "for"])
    bar.set_label(f"what speaks for {explanation.emotion}, what against")
    return figure


def draw_clip(y, *, title: str = "") -> HTML:
    """Waveform at 16 kHz, STFT and mel spectrogram with the pitch contour, and chromagram.

    It can stand between players; the title stands above it.
    """
    from matplotlib.figure import Figure  # not pyplot: nothing to close, nothing shown twice

    figure = Figure(figsize=(10.5, 4.6), layout="constrained")
    axes = figure.subplots(2, 2, sharex=True)
    plots.plot_waveform(y, ax=axes[0, 0])
    for ax, kind in zip(axes.flat[1:], ("stft", "mel", "chroma"), strict=True):
        plots.plot_spectrogram(y, kind=kind, ax=ax, colorbar=False)
    settings = FeatureSettings()
    plots.plot_pitch(Analysis(y, settings).pitch.f0, hop=settings.hop, ax=axes[1, 0])
    for ax in axes[0]:
        ax.set_xlabel("")
    figure.suptitle(title, x=0.01, ha="left", fontsize=11)
    return HTML(embed_figure(figure, width=840, alt=f"{title}: the clip in pictures".strip(": ")))
