"""All folds and seeds of one model together: the mean, how much it varies, and its interval."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import numpy as np
import pandas as pd

from helpers.evaluation.groups import score_groups
from helpers.evaluation.scores import (
    MIN_SPEAKERS,
    Bootstrap,
    accuracy,
    confusion_counts,
    score_predictions,
    uar,
)


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
        first seed by sex, intensity and corpus, as
        :func:`helpers.evaluation.groups.score_groups` has them.
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
