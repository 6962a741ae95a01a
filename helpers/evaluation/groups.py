"""For whom does the model work less well? Scores of groups, with an allowance for their size."""

from __future__ import annotations

import numpy as np
import pandas as pd

from helpers.evaluation.scores import confusion_counts, resample, score_by_emotion, uar

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
    return pd.DataFrame(
        {
            "test": "groups by " + gaps["grouping"],
            "measure": "UAR gap, worst: " + gaps["worst"],
            "found": gaps["gap"],
            "limit": gaps["allowed"],
            "passed": gaps["gap"] <= gaps["allowed"],
            "n": gaps["n"],
        }
    )


def check_scores(predictions: pd.DataFrame, classes: list[str]) -> pd.DataFrame:
    """Pass or fail of the scores themselves: no emotion may be lost, none be a catch-all.

    Columns ``test measure found limit passed n``; of recall, precision and share the worst emotion.
    """
    counts = confusion_counts(predictions["emotion"], predictions["predicted"], classes)
    table = score_by_emotion(counts, classes)
    table = table[table["support"] > 0]
    n = int(counts.sum())
    found = float(uar(counts))
    rows = [("UAR", found, MIN_RATE, found >= MIN_RATE, n)]
    for measure in ("recall", "precision"):
        worst, found = table[measure].idxmin(), float(table[measure].min())
        support = int(table.loc[worst, "support"])
        rows.append((f"lowest {measure}: {worst}", found, MIN_RATE, found >= MIN_RATE, support))
    share_gap = pd.Series(np.abs(counts.sum(axis=0) - counts.sum(axis=1)) / n, index=classes)
    worst, found = share_gap.idxmax(), float(share_gap.max())
    name = f"predicted against true share: {worst}"
    rows.append((name, found, MAX_SHARE_GAP, found <= MAX_SHARE_GAP, n))
    checks = pd.DataFrame(rows, columns=["measure", "found", "limit", "passed", "n"])
    checks.insert(0, "test", "scores")
    return checks
