"""Figures of notebook 06: calibration, coverage, groups, corpora. Look and colours are of plots."""

from __future__ import annotations

import numpy as np
import pandas as pd

from helpers.plots import new_axes

_BLUE, _ORANGE, _GREY = "#0072B2", "#D55E00", "#767676"


def plot_reliability(curves: dict[str, pd.DataFrame], *, ax=None, title: str = ""):
    """Accuracy against confidence; an honest model lies on the diagonal.

    Parameters
    ----------
    curves : dict of str to pd.DataFrame
        Label → result of :func:`helpers.evaluation.calibration.measure_reliability`, at most two.
        The size of a dot is the number of its clips.
    ax : matplotlib.axes.Axes, optional
    title : str
    """
    ax = new_axes(ax, figsize=(4.5, 4))
    ax.plot([0, 1], [0, 1], color="#BBBBBB", linestyle=":")
    ax.annotate("honest", (0.97, 0.97), ha="right", va="bottom", color=_GREY, fontsize=8)
    looks = ((_ORANGE, "s"), (_BLUE, "o"))
    for (label, bins), (color, marker) in zip(curves.items(), looks, strict=False):
        ax.plot(bins["confidence"], bins["accuracy"], color=color, linewidth=1, alpha=0.6)
        size = 15 + 250 * bins["clips"] / bins["clips"].sum()
        ax.scatter(bins["confidence"], bins["accuracy"], size, color, marker=marker, alpha=0.8,
                   label=label)  # fmt: skip
    ax.set(xlim=(0, 1), ylim=(0, 1.03), xlabel="confidence", ylabel="share that was right")
    ax.set_title(title)
    for handle in ax.legend(loc="upper left").legend_handles:
        handle.set_sizes([40])
    return ax


def plot_coverage(
    curve: pd.DataFrame, *, threshold: float, target: float, ax=None, title: str = ""
):
    """Accuracy of the answers given against the share of clips that get one.

    Parameters
    ----------
    curve : pd.DataFrame
        From :func:`helpers.evaluation.calibration.measure_coverage`.
    threshold : float
        The one that the model uses; marked by a dot.
    target : float
        Accuracy for which it was chosen on the validation side.
    ax : matplotlib.axes.Axes, optional
    title : str
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
    """UAR of every group with its interval and number of clips.

    Parameters
    ----------
    groups : pd.DataFrame
        From :func:`helpers.evaluation.groups.score_groups`.
    ax : matplotlib.axes.Axes, optional
    title : str
    """
    ax = new_axes(ax, figsize=(9, 1 + 0.28 * (len(groups) + groups["grouping"].nunique())))
    y, ticks, labels = 0.0, [], []
    for grouping, part in groups.groupby("grouping", sort=False):
        for row in part.sort_values("uar", ascending=False).itertuples():
            worst = row.uar == part["uar"].min()
            color, marker = (_ORANGE, "s") if worst else (_BLUE, "o")
            ax.plot([row.low, row.high], [y, y], color=color, linewidth=4, alpha=0.35)
            ax.plot(row.uar, y, marker, color=color)
            ticks.append(y)
            labels.append(f"{grouping}: {row.group}  (n {row.n})")
            y += 1
        y += 0.7
    ax.set_yticks(ticks, labels)
    ax.set(xlim=(0, 1), ylim=(y, -0.7), xlabel="UAR with its 95 % interval; square: the lowest")
    ax.set_title(title)
    return ax


def plot_cross(scores: list[dict], *, ax=None, title: str = ""):
    """Training corpus down, test corpus across; the diagonal is on other speakers of the same.

    Parameters
    ----------
    scores : list of dict
        From :func:`helpers.evaluation.crosscorpus.cross_corpora`.
    ax : matplotlib.axes.Axes, optional
    title : str
    """
    import seaborn

    table = pd.DataFrame(scores)
    # In the order in which they come: the diagonal stays one.
    rows, columns = table["train"].drop_duplicates(), table["test"].drop_duplicates()
    rows = [*columns[columns.isin(rows)], *rows[~rows.isin(columns)]]
    uar = table.pivot(index="train", columns="test", values="uar").loc[rows, columns]
    ends = pd.DataFrame(table["uar_interval"].tolist(), index=table.index, columns=["low", "high"])
    text = [
        f"{row.uar:.2f}\n[{low:.2f}, {high:.2f}]\nn {row.n}"
        for row, low, high in zip(table.itertuples(), ends["low"], ends["high"], strict=True)
    ]
    notes = table.assign(note=text).pivot(index="train", columns="test", values="note")
    ax = new_axes(ax, figsize=(2.6 + 1.5 * len(columns), 1.3 + 0.8 * len(rows)))
    seaborn.heatmap(
        uar, annot=notes.loc[rows, columns].fillna(""), fmt="", cmap="Blues", vmin=0, vmax=1,
        ax=ax, linewidths=1, annot_kws={"fontsize": 8}, cbar_kws={"label": "UAR"},
    )  # fmt: skip
    ax.set(xlabel="tested on", ylabel="trained on", title=title)
    ax.tick_params(axis="y", rotation=0)
    return ax


def plot_confusions(worst: pd.DataFrame, *, ax=None, title: str = ""):
    """The most frequent mistakes as shares of their true emotion, with intervals.

    Parameters
    ----------
    worst : pd.DataFrame
        From :func:`helpers.evaluation.scores.worst_confusions`.
    ax : matplotlib.axes.Axes, optional
    title : str
    """
    ax = new_axes(ax, figsize=(9, 0.9 + 0.35 * len(worst)))
    place = np.arange(len(worst))
    ax.barh(place, worst["share"], color="#BBBBBB")
    ends = np.stack([worst["share"] - worst["low"], worst["high"] - worst["share"]])
    ax.errorbar(worst["share"], place, xerr=ends, fmt="none", color="#444444", capsize=3)
    ax.set_yticks(place, worst["emotion"] + " taken for " + worst["predicted"])
    ax.invert_yaxis()
    ax.set(xlim=(0, 1), xlabel="share of the clips of that emotion, with its 95 % interval")
    ax.set_title(title)
    return ax
