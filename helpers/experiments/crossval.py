"""Every fold and several seeds of one model: a score over all speakers, and how much is luck.

One fold says how a model does on four people. Over all folds everybody is tested once, by a model
that never heard them; several seeds show how far the score moves by chance alone.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import closing
from functools import partial

import numpy as np
import pandas as pd

from helpers.columns import PROTOCOLS
from helpers.evaluation.groups import score_groups
from helpers.evaluation.intervals import MIN_SPEAKERS, Bootstrap
from helpers.evaluation.scores import accuracy, confusion_counts, score_predictions, uar
from helpers.experiments.parts import Part, describe, n_folds, parts_folder, run_apart
from helpers.models.recipes import RECIPES
from helpers.runs import Run
from helpers.splits import make_split

#: What can be cross-validated: the networks, and a support vector machine on the functionals.
MODELS = (*RECIPES, "svm")


class CrossvalError(ValueError):
    """A cross-validation that cannot be meant."""


class PartsFailedError(RuntimeError):
    """Some parts failed; the others are done and kept."""


def cross_validate(
    clips: pd.DataFrame,
    model: str,
    *,
    protocol: str = "speaker-independent",
    seeds: int = 1,
    folds: Sequence[int] | None = None,
    jobs: int = -1,
    run: Run,
    epochs: int | None = None,
) -> pd.DataFrame:
    """Train and test a model on every fold, with every seed.

    Each fold of each seed is a part, see :mod:`helpers.experiments.parts`: the model learns from the
    training side, stops by the validation side and is asked about the test side, by which nothing
    is chosen. Parts that are there already are not computed again.

    Parameters
    ----------
    clips : pd.DataFrame
        Utterance table of :func:`helpers.sound.audio.inspect_clips`.
    model : str
        One of :data:`MODELS`.
    protocol : str
        One of :data:`helpers.columns.PROTOCOLS`. Where no speakers are dealt, fold 1 is all there
        is, and the seeds differ in the split.
    seeds : int
        So many, from 0.
    folds : sequence of int, optional
        From 1; all if not given.
    jobs : int
        Parts at once, -1 for one a core; makes no difference to the results.
    run : Run
        Gets ``parts/<key>/fold-01-seed-0.csv`` …, and when all are done ``predictions.csv`` (the
        returned table) and ``cv.json`` (:func:`summarise`).
    epochs : int, optional
        Instead of the recipe's.

    Returns
    -------
    pd.DataFrame
        A row a test clip, seed by seed and fold by fold: ``path sha256 corpus speaker gender
        intensity text emotion`` (the truth), ``predicted confidence``, a probability a class (none
        of svm, whose confidence is NaN), ``fold seed``.

    Raises
    ------
    CrossvalError
        An unknown model, protocol or fold, or a number that is too small.
    helpers.errors.UserError
        A split that cannot be made; before anything is computed.
    PartsFailedError
        Names the parts that failed, when all others are done.
    """
    check_request(model, protocol=protocol, seeds=seeds, jobs=jobs, epochs=epochs)
    chosen = _choose_folds(clips, protocol, folds)
    splits = {
        (seed, fold): make_split(clips, protocol=protocol, fold=fold, seed=seed)
        for seed in range(seeds)
        for fold in chosen
    }
    recipe = RECIPES.get(model)
    recipe = recipe.with_epochs(epochs) if epochs else recipe
    facts = describe(clips, model, recipe, protocol=protocol, jobs=jobs)
    folder, classes = parts_folder(facts), facts["classes"]
    run.save_json(facts, f"{folder}/recipe.json")
    parts = {place: Part(run, folder, *place) for place in splits}

    def read(place: tuple[int, int]) -> pd.DataFrame | None:
        return parts[place].read(clips[splits[place] == "test"])

    calls = {
        place: partial(part.compute, clips, splits[place], recipe, classes)
        for place, part in parts.items()
        if read(place) is None
    }
    print(
        f"{model} · {protocol} · {len(clips)} clips of {facts['speakers']} speakers: "
        f"{len(parts) - len(calls)} of {len(parts)} parts were done before",
        flush=True,
    )
    failed = []
    with closing(run_apart(calls, jobs=jobs)) as ended:
        for place, seconds, error, said in ended:
            table = None if error else read(place)
            error = error or ("" if table is not None else "what it wrote cannot be read")
            print(_say_ended(place, table, error, classes, seconds), flush=True)
            if error:
                failed.append(f"fold {place[1]}, seed {place[0]} ({error})")
                log = run.path(parts[place].name).with_suffix(".log")
                log.write_text(said, encoding="utf-8")
    if failed:
        raise PartsFailedError(
            f"{len(failed)} of {len(parts)} parts failed: {'; '.join(failed)}. All that they said "
            f"is in {run.path(folder)}/*.log. The others are kept: the same call again computes "
            "what is missing"
        )
    table = pd.concat([read(place) for place in parts], ignore_index=True)
    run.save_table(table, "predictions.csv")
    run.save_json(summarise(table, **facts), "cv.json")
    return table


def _say_ended(
    place: tuple[int, int],
    table: pd.DataFrame | None,
    error: str,
    classes: list[str],
    seconds: float,
) -> str:
    result = f"failed: {error}"
    if not error:
        counts = confusion_counts(table["emotion"], table["predicted"], classes)
        result = f"UAR {uar(counts):.3f} on {_name_speakers(table['speaker'])}"
    return f"fold {place[1]}, seed {place[0]}: {result} · {seconds:.0f} s"


def check_request(
    model: str, *, protocol: str, seeds: int = 1, jobs: int = -1, epochs: int | None = None
) -> None:
    """Refuse what cannot be meant, before any work.

    Raises
    ------
    CrossvalError

    Examples
    --------
    >>> check_request("gmm", protocol="random-80-20")
    Traceback (most recent call last):
    ...
    helpers.experiments.crossval.CrossvalError: model 'gmm': expected one of mfcc_lstm, ...
    """
    for what, name, known in (("model", model, MODELS), ("protocol", protocol, PROTOCOLS)):
        if name not in known:
            raise CrossvalError(f"{what} {name!r}: expected one of {', '.join(known)}")
    for what, n in (("seeds", seeds), ("jobs", jobs), ("epochs", epochs)):
        if n is not None and n < 1 and (what, n) != ("jobs", -1):
            raise CrossvalError(f"{what} {n}: expected at least 1")
    if epochs and model not in RECIPES:
        raise CrossvalError(f"epochs {epochs}: {model} has none")


def parse_folds(text: str | None) -> list[int] | None:
    """Folds as one types them; None for all.

    Examples
    --------
    >>> parse_folds("1, 3")
    [1, 3]
    """
    try:
        return [int(part) for part in text.split(",")] if text else None
    except ValueError as error:
        raise CrossvalError(f"folds {text!r}: expected numbers such as 1,2") from error


def name_run(clips: pd.DataFrame, model: str, protocol: str) -> str:
    """Name of the run folder where none is given.

    Examples
    --------
    >>> name_run(pd.DataFrame({"corpus": ["tess", "tess"]}), "cnn", "speaker-independent")
    'cv-tess-cnn'
    """
    parts = ["cv", *sorted(clips["corpus"].unique()), model]
    return "-".join(parts if protocol == PROTOCOLS[0] else [*parts, protocol])


def _choose_folds(clips: pd.DataFrame, protocol: str, folds: Sequence[int] | None) -> list[int]:
    n = n_folds(clips, protocol)
    chosen = list(range(1, n + 1)) if folds is None else sorted(set(folds))
    if not chosen or not 1 <= chosen[0] <= chosen[-1] <= n:
        corpora = ", ".join(sorted(clips["corpus"].unique()))
        given = ", ".join(map(str, chosen)) or "none"
        hint = "" if n > 1 else ", where the seeds differ in the split"
        raise CrossvalError(
            f"folds {given}: expected some of 1 to {n} for {corpora} under {protocol}{hint}"
        )
    return chosen


def _name_speakers(speakers: Sequence[str]) -> str:
    names = sorted(set(speakers))
    return ", ".join(names) if len(names) <= 6 else f"{len(names)} speakers"


def summarise(
    predictions: pd.DataFrame, *, protocol: str, classes: list[str], **facts: object
) -> dict:
    """Scores of each fold, of each seed over all folds, and of all seeds.

    Parameters
    ----------
    predictions : pd.DataFrame
        What :func:`cross_validate` returns.
    protocol : str
    classes : list of str
    **facts
        Whatever else a reader should know: model, corpora, settings, versions.

    Returns
    -------
    dict
        The facts with ``protocol classes seeds folds``; ``by_fold``, a list of ``seed fold n
        speakers uar accuracy``; ``by_seed``, for each seed :func:`score_predictions` over all its
        folds, no clip counted twice; ``uar`` and ``accuracy``, each with ``mean`` and ``sd`` over
        the seeds (n - 1; None for one seed) and the 95 % ``interval`` of that mean, resampling
        what ``interval_unit`` says; ``groups`` and ``gaps`` of the first seed by sex, intensity and
        corpus, as :func:`helpers.evaluation.groups.score_groups` has them.
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
    """Resampled speakers (of one or two: clips), each with what every seed says of them.

    The seeds are models of the same people: they say nothing of other people, and so are not
    resampled.
    """
    unit = "speaker" if predictions["speaker"].nunique() >= MIN_SPEAKERS else "clip"
    units, _ = pd.factorize(predictions["speaker" if unit == "speaker" else "path"], sort=True)
    seeds, _ = pd.factorize(predictions["seed"], sort=True)
    counts = confusion_counts(
        predictions["emotion"], predictions["predicted"], classes, by=[units, seeds]
    )
    return Bootstrap.draw(counts, unit, n_resamples=2000, seed=0)


def format_summary(summary: dict) -> str:
    """A row a fold, then the score over all of them with all that it must say."""
    several = f" (UAR: mean of {n_seeds} seeds)" if (n_seeds := len(summary["seeds"])) > 1 else ""
    lines = [f"fold  UAR    clips  test speakers{several}"]
    for fold, part in pd.DataFrame(summary["by_fold"]).groupby("fold"):
        names = _name_speakers([name for speakers in part["speakers"] for name in speakers])
        lines.append(f"{fold:4d}  {part['uar'].mean():.3f}  {part['n'].iloc[0]:5d}  {names}")
    if len(summary["folds"]) < summary["n_folds"]:
        lines.append(f"{len(summary['folds'])} of {summary['n_folds']} folds only")
    one = next(iter(summary["by_seed"].values()))
    what = f"{summary['model']} · {summary['protocol']}"
    for name, label in (("uar", "UAR"), ("accuracy", "accuracy")):
        mean, sd, (low, high) = (summary[name][key] for key in ("mean", "sd", "interval"))
        spread = "(1 seed)" if sd is None else f"± {sd:.3f} ({n_seeds} seeds)"
        lines.append(
            f"{what} · {one['n']} clips of {one['n_speakers']} speakers: {label} {mean:.3f} "
            f"{spread} [{low:.3f}, {high:.3f}], 95 % over {summary['interval_unit']}s"
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


def report(clips: pd.DataFrame, model: str, *, run: Run, **chosen: object) -> int:
    """:func:`cross_validate` in words; returns an exit code, 1 if a part failed."""
    try:
        cross_validate(clips, model, run=run, **chosen)
    except PartsFailedError as error:
        print(f"ser: {error}", file=sys.stderr)
        return 1
    print(format_summary(run.read_json("cv.json", made_by="")))
    print(f"cv.json and predictions.csv are in {run.folder}")
    return 0
