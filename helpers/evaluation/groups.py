"""Scores apart and together: of groups of people, and of all folds and seeds of one model.

Groups get an allowance for their size; of folds and seeds, it is said how much they vary.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import numpy as np
import pandas as pd

from helpers.columns import CHECKS
from helpers.evaluation.scores import (
    MIN_SPEAKERS,
    Bootstrap,
    accuracy,
    confusion_counts,
    make_check,
    resample,
    score_by_emotion,
    score_predictions,
    uar,
)

#: Limits of the suite in arXiv 2312.06270.
MAX_GAP, MIN_RATE, MAX_SHARE_GAP = 0.075, 0.5, 0.15
_PITCH_EDGES_HZ = (145, 190)


def group_by_pitch(speakers: pd.Series, prosody: pd.DataFrame) -> pd.Series:
    """Low, middle or high voice, by the median pitch of all clips of a speaker.

    Parameters
    ----------
    speakers : pd.Series
        Who speaks in each clip.
    prosody : pd.DataFrame
        Features of the family ``prosody``, in the same order.

    Returns
    -------
    pd.Series of str
        ``up to 145 Hz``, ``145 to 190 Hz``, ``over 190 Hz``; empty for a speaker without a voiced
        clip.
    """
    f0_hz = 100 * 2 ** (prosody["f0_st_mean"] / 12)
    f0_hz = f0_hz.where(prosody["voiced_share"] > 0).set_axis(speakers.index)
    median = f0_hz.groupby(speakers).transform("median")
    low, high = _PITCH_EDGES_HZ
    names = [f"up to {low} Hz", f"{low} to {high} Hz", f"over {high} Hz"]
    return pd.cut(median, [0, low, high, np.inf], labels=names).astype("object").fillna("")


def score_groups(
    predictions: pd.DataFrame,
    groupings: dict[str, pd.Series],
    classes: list[str],
    *,
    n_resamples: int = 1000,
    seed: int = 0,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """UAR of every group, and what of the gaps between them is more than chance.

    Parameters
    ----------
    predictions : pd.DataFrame
        Test clips with ``emotion predicted speaker``.
    groupings : dict of str to pd.Series
        Such as ``{"sex": …, "speaker": …}``, in the order of ``predictions``; clips of an empty
        group are left out, and so is a grouping with one group.
    classes : list of str
    n_resamples, seed : int

    Returns
    -------
    groups : pd.DataFrame
        One row per group: ``grouping group n n_speakers uar low high``. UAR is over the emotions
        that all groups of a grouping have.
    gaps : pd.DataFrame
        One row per grouping: ``grouping n gap worst best chance_gap allowed``. When the same clips
        are put at random into groups of the same sizes, the gap stays under the chance gap in 95 %
        of the cases. Allowed is that, or 0.075 if it is less.
    """
    rows, gaps = [], []
    for grouping, labels in groupings.items():
        clips = predictions.assign(group=np.asarray(labels, dtype=object))
        clips = clips[clips["group"].fillna("") != ""]
        cells = pd.crosstab(clips["group"], clips["emotion"])
        in_all = (cells > 0).all()
        shared = [name for name in classes if in_all.get(name, False)]
        clips = clips[clips["emotion"].isin(shared)]
        if len(cells) < 2 or not shared:
            continue
        for group, part in clips.groupby("group"):
            draws = resample(part, classes, n_resamples=n_resamples, seed=seed)
            low, high = draws.interval(uar)
            speakers = part["speaker"].nunique()
            rows.append((grouping, group, len(part), speakers, float(uar(draws.whole)), low, high))
        gaps.append((grouping, *_measure_gap(clips, shared, n_resamples, seed)))
    columns = ["grouping", "group", "n", "n_speakers", "uar", "low", "high"]
    gap_columns = ["grouping", "n", "gap", "worst", "best", "chance_gap", "allowed"]
    return pd.DataFrame(rows, columns=columns), pd.DataFrame(gaps, columns=gap_columns)


def _measure_gap(clips: pd.DataFrame, shared: list[str], n_resamples: int, seed: int) -> tuple:
    """Largest gap between groups, and how large it gets when the groups are made at random."""
    codes, names = pd.factorize(clips["group"], sort=True)
    right = (clips["emotion"] == clips["predicted"]).to_numpy(float)
    emotion = clips["emotion"].map(shared.index).to_numpy()
    n = np.zeros((len(names), len(shared)))
    np.add.at(n, (codes, emotion), 1)

    def score_by_group(codes: np.ndarray) -> np.ndarray:
        hits = np.zeros(n.shape)
        np.add.at(hits, (codes, emotion), right)
        return (hits / n).mean(axis=1)

    found = score_by_group(codes)
    rng = np.random.default_rng(seed)
    places = [np.flatnonzero(emotion == place) for place in range(len(shared))]
    chance = []
    for _ in range(n_resamples):
        mixed = codes.copy()
        for place in places:  # within an emotion: the groups keep their mix of emotions
            mixed[place] = codes[rng.permutation(place)]
        chance.append(np.ptp(score_by_group(mixed)))
    gap, chance_gap = float(np.ptp(found)), float(np.percentile(chance, 95))
    worst, best = names[found.argmin()], names[found.argmax()]
    return len(clips), gap, worst, best, chance_gap, max(MAX_GAP, chance_gap)


def check_groups(gaps: pd.DataFrame) -> pd.DataFrame:
    """Pass or fail of each grouping: is its gap within what is allowed?

    The gaps are those of :func:`score_groups`; columns ``test measure found limit passed n``.
    """
    rows = [
        make_check(f"groups by {g.grouping}", f"UAR gap, worst: {g.worst}", g.gap, g.allowed, g.n)
        for g in gaps.itertuples()
    ]
    return pd.DataFrame(rows, columns=CHECKS)


def check_scores(predictions: pd.DataFrame, classes: list[str]) -> pd.DataFrame:
    """Pass or fail of the scores themselves: no emotion may be lost, none be a catch-all.

    Columns ``test measure found limit passed n``; of recall, precision and share the worst emotion.
    """
    counts = confusion_counts(predictions["emotion"], predictions["predicted"], classes)
    table = score_by_emotion(counts, classes)
    table = table[table["support"] > 0]
    n = int(counts.sum())
    rows = [make_check("scores", "UAR", float(uar(counts)), MIN_RATE, n, at_least=True)]
    for name in ("recall", "precision"):
        worst = table.loc[table[name].idxmin()]
        measure, support = f"lowest {name}: {worst.name}", int(worst["support"])
        rows.append(make_check("scores", measure, worst[name], MIN_RATE, support, at_least=True))
    gaps = pd.Series(np.abs(counts.sum(axis=0) - counts.sum(axis=1)) / n, index=classes)
    measure = f"predicted against true share: {gaps.idxmax()}"
    rows.append(make_check("scores", measure, gaps.max(), MAX_SHARE_GAP, n))
    return pd.DataFrame(rows)


# --- folds and seeds ---------------------------------------------------------------------------


def summarise(
    predictions: pd.DataFrame, *, protocol: str, classes: list[str], **facts: object
) -> dict:
    """Scores of each fold, of each seed over all folds, and of all seeds.

    Parameters
    ----------
    predictions : pd.DataFrame
        What :func:`helpers.experiments.crossval.cross_validate` returns.
    **facts
        Whatever else a reader should know: model, corpora, settings, versions.

    Returns
    -------
    dict
        The facts with ``protocol classes seeds folds``; ``by_fold``, a list of ``seed fold n
        speakers uar accuracy``; ``by_seed``, for each seed :func:`score_predictions` over all its
        folds, no clip counted twice; ``uar`` and ``accuracy``, each with ``mean`` and ``sd`` over
        the seeds (n - 1; None for one seed) and a 95 % ``interval`` that covers one training: what
        ``interval_unit`` says is resampled together with the seeds; ``groups`` and ``gaps`` of the
        first seed by sex, intensity and corpus, as :func:`score_groups` has them.
    """
    by_fold = []
    for (seed, fold), part in predictions.groupby(["seed", "fold"]):
        counts = confusion_counts(part["emotion"], part["predicted"], classes)
        names = sorted(part["speaker"].unique())
        by_fold.append({"seed": seed, "fold": fold, "n": len(part), "speakers": names,
                        "uar": uar(counts), "accuracy": accuracy(counts)})  # fmt: skip
    # Beside a corpus of more folds, the speakers of one with fewer come round again.
    once = predictions.drop_duplicates(["seed", "path"])
    by_seed = {
        int(seed): score_predictions(part, classes, protocol=protocol)
        for seed, part in once.groupby("seed")
    }
    first = once[once["seed"] == once["seed"].min()]
    named = {name: first[name] for name in ("gender", "intensity", "corpus") if name in first}
    groups, gaps = score_groups(first, named, classes)
    draws = _draw_all_seeds(once, classes)
    whole = {}
    for name, measure in (("uar", uar), ("accuracy", accuracy)):
        found = [score[name] for score in by_seed.values()]
        whole[name] = {
            "mean": float(np.mean(found)),
            "sd": float(np.std(found, ddof=1)) if len(found) > 1 else None,
            "interval": draws.interval(lambda counts, of=measure: of(counts).mean(axis=-1)),
        }
    return {
        **facts,
        "protocol": protocol,
        "classes": list(classes),
        "seeds": list(by_seed),
        "folds": sorted(int(fold) for fold in predictions["fold"].unique()),
        "by_fold": by_fold,
        "by_seed": by_seed,
        **whole,
        "interval_unit": draws.unit,
        "groups": groups.to_dict("records"),
        "gaps": gaps.to_dict("records"),
    }


def _draw_all_seeds(predictions: pd.DataFrame, classes: list[str]) -> Bootstrap:
    """Resampled speakers (of one or two: clips), each time with what one seed says of them.

    Another seed, machine or number of threads trains another model: on one fold of RAVDESS they
    differed by 0.05. So the seed is drawn along with the speakers, and the interval is that of one
    training, not of the mean of several.
    """
    unit = "speaker" if predictions["speaker"].nunique() >= MIN_SPEAKERS else "clip"
    units, _ = pd.factorize(predictions["speaker" if unit == "speaker" else "path"], sort=True)
    seeds, _ = pd.factorize(predictions["seed"], sort=True)
    counts = confusion_counts(
        predictions["emotion"], predictions["predicted"], classes, by=[units, seeds]
    )
    draws = Bootstrap.draw(counts, unit, n_resamples=2000, seed=0)
    n = len(draws.samples)
    chosen = np.random.default_rng(1).integers(counts.shape[1], size=n)
    return replace(draws, samples=draws.samples[np.arange(n), chosen][:, None])


def format_summary(summary: dict) -> str:
    """One line per fold, then the score over all of them with all that it must say."""
    n_seeds = len(summary["seeds"])
    several = f" (UAR: mean of {n_seeds} seeds)" if n_seeds > 1 else ""
    lines = [f"fold  UAR    clips  test speakers{several}"]
    for fold, part in pd.DataFrame(summary["by_fold"]).groupby("fold"):
        names = name_speakers([name for speakers in part["speakers"] for name in speakers])
        lines.append(f"{fold:4d}  {part['uar'].mean():.3f}  {part['n'].iloc[0]:5d}  {names}")
    if len(summary["folds"]) < summary["n_folds"]:
        lines.append(f"{len(summary['folds'])} of {summary['n_folds']} folds only")
    one = next(iter(summary["by_seed"].values()))
    what = f"{summary['model']} · {summary['protocol']}"
    over = " and seeds" if n_seeds > 1 else ", not over trainings: --seeds 3 covers these"
    if summary.get("settings") == {}:
        over = ""  # a model without settings of a training draws nothing
    for name, label in (("uar", "UAR"), ("accuracy", "accuracy")):
        mean, sd, (low, high) = (summary[name][key] for key in ("mean", "sd", "interval"))
        spread = "(1 seed)" if sd is None else f"± {sd:.3f} ({n_seeds} seeds)"
        lines.append(
            f"{what} · {one['n']} clips of {one['n_speakers']} speakers: {label} {mean:.3f} "
            f"{spread} [{low:.3f}, {high:.3f}], 95 % over {summary['interval_unit']}s{over}"
        )
    uars = {(row["grouping"], row["group"]): row["uar"] for row in summary["groups"]}
    for gap in summary["gaps"]:
        name, worst, best = gap["grouping"], gap["worst"], gap["best"]
        size = "more than" if gap["gap"] > gap["allowed"] else "within"
        lines.append(
            f"by {name}: UAR {uars[name, worst]:.3f} ({worst}) to {uars[name, best]:.3f} ({best}), "
            f"a gap of {gap['gap']:.3f}, {size} the {gap['allowed']:.3f} allowed"
        )
    if summary["synthetic"]:
        lines.append("synthetic voices: this says nothing about real speech")
    return "\n".join(lines)


def name_speakers(speakers: Iterable[str]) -> str:
    """Names of up to six speakers, or how many there are.

    Examples
    --------
    >>> name_speakers(["tess-oaf", "tess-yaf", "tess-oaf"])
    'tess-oaf, tess-yaf'
    """
    names = sorted(set(speakers))
    return ", ".join(names) if len(names) <= 6 else f"{len(names)} speakers"
