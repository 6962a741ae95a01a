"""Is one model better than another, or one run than the one before?"""

from __future__ import annotations

import numpy as np
import pandas as pd

from helpers.evaluation.intervals import Bootstrap, count_units
from helpers.evaluation.scores import uar
from helpers.runs import Run


def compare_predictions(
    first: pd.DataFrame,
    second: pd.DataFrame,
    classes: list[str],
    *,
    n_resamples: int = 2000,
    seed: int = 0,
) -> dict:
    """Is one model better than another on the same clips?

    Speakers are resampled for both models at once, so that a speaker who is hard for both does not
    count as a difference. The p-value is that of exchanging the two models speaker by speaker: all
    ways up to 12 speakers, else ``n_resamples`` of them.

    Parameters
    ----------
    first, second : pd.DataFrame
        A row a clip with ``path`` (or ``sha256``) ``emotion predicted speaker``; matched by it.
    classes : list of str
    n_resamples, seed : int

    Returns
    -------
    dict
        ``n n_speakers uar`` (of both) ``difference`` (second minus first) ``interval
        interval_unit p_value verdict``; the verdict is ``better`` or ``worse`` where the interval
        leaves out 0, else ``equal``: these clips cannot tell.

    Raises
    ------
    ValueError
        The tables are not about the same clips, or disagree on their emotions.
    """
    key = "sha256" if {"sha256"} <= set(first) & set(second) else "path"
    columns = [key, "emotion", "predicted", "speaker"]
    first, second = (
        table[columns].sort_values(columns, ignore_index=True) for table in (first, second)
    )
    if not first[[key, "emotion"]].equals(second[[key, "emotion"]]):
        raise ValueError(
            f"two models can only be compared on the same clips: found {len(first)} and "
            f"{len(second)}, of which {len(set(first[key]) & set(second[key]))} are the same"
        )
    (a, unit), (b, _) = (count_units(table, classes) for table in (first, second))
    pair = np.stack([a, b], axis=1)
    draws = Bootstrap.draw(pair, unit, n_resamples=n_resamples, seed=seed)

    return {
        "n": len(first),
        "n_speakers": int(first["speaker"].nunique()),
        **_judge(draws),
        "p_value": _exchange(pair, n_resamples, seed),
    }


def _gap(counts: np.ndarray) -> np.ndarray:
    """UAR of the second model minus that of the first, counts of shape (…, 2, n, n)."""
    return uar(counts[..., 1, :, :]) - uar(counts[..., 0, :, :])


def _judge(draws: Bootstrap) -> dict:
    low, high = draws.interval(_gap, low=-1.0)
    return {
        "uar": [float(uar(draws.whole[side])) for side in (0, 1)],
        "difference": float(_gap(draws.whole)),
        "interval": [low, high],
        "interval_unit": draws.unit,
        "verdict": "better" if low > 0 else "worse" if high < 0 else "equal",
    }


def _exchange(pair: np.ndarray, n_resamples: int, seed: int) -> float:
    """Share of the ways to exchange the models, unit by unit, with as large a gap as was found."""
    n = len(pair)
    if n <= 12:
        swaps = (np.arange(2**n)[:, None] >> np.arange(n)) & 1
    else:
        swaps = np.random.default_rng(seed).integers(2, size=(n_resamples, n))
        swaps[0] = 0  # what was found is one of the ways
    flipped = pair[:, ::-1]
    sums = np.tensordot(1 - swaps, pair, axes=1) + np.tensordot(swaps, flipped, axes=1)
    return float((np.abs(_gap(sums)) >= np.abs(_gap(pair.sum(axis=0))) - 1e-12).mean())


def compare_runs(
    first: Run, second: Run, *, n_resamples: int = 2000, seed: int = 0
) -> tuple[dict, list[str]]:
    """Is the ``model.keras`` of the second run better or worse than that of the first?

    Parameters
    ----------
    first, second : Run
        With the ``metrics.json`` and ``predictions.csv`` of notebook 06.
    n_resamples, seed : int

    Returns
    -------
    found : dict
        As :func:`compare_predictions`; ``n`` and ``n_speakers`` are those of the second run, and
        ``paired`` is False where the runs were tested on different clips. Their intervals are then
        independent, and only a large difference shows.
    notes : list of str
        Checks of the robustness suite that the first passed and the second does not.

    Raises
    ------
    UserError
        A run without notebook 06.
    ValueError
        The runs are about different emotions or protocols: their scores mean different things.
    """
    (a, about_a), (b, about_b) = (_read_run(run) for run in (first, second))
    for what in about_a:
        if about_a[what] != about_b[what]:
            raise ValueError(
                f"{first.name} and {second.name} cannot be compared: {what} is "
                f"{about_a[what]} in the one and {about_b[what]} in the other"
            )
    classes, settings = about_a["emotions"], {"n_resamples": n_resamples, "seed": seed}
    paired = sorted(a["sha256"]) == sorted(b["sha256"])
    compare = compare_predictions if paired else _compare_apart
    found = {**compare(a, b, classes, **settings), "paired": paired}
    return found, _lost_checks(first, second)


def _read_run(run: Run) -> tuple[pd.DataFrame, dict]:
    table = run.read_table("predictions.csv", made_by="06_evaluate")
    data = run.read_json("metrics.json", made_by="06_evaluate")["data"]
    if "sha256" not in table:
        raise ValueError(f"{run.folder}: of an older version, run 06 again: ser run --only 06")
    protocol = data["protocols"][0]
    about = {"protocol": protocol, "emotions": data["classes"]}
    return table[(table["model"] == "model.keras") & (table["protocol"] == protocol)], about


def _compare_apart(
    first: pd.DataFrame, second: pd.DataFrame, classes: list[str], *, n_resamples: int, seed: int
) -> dict:
    """As :func:`compare_predictions` for different clips: each is resampled for itself."""
    draws = [
        Bootstrap.of(table, classes, n_resamples=n_resamples, seed=seed + place)
        for place, table in enumerate((first, second))
    ]
    both = Bootstrap(
        np.stack([one.whole for one in draws]),
        np.stack([one.samples for one in draws], axis=1),
        min(one.n_units for one in draws),
        draws[1].unit,
    )
    return _judge(both) | {"n": len(second), "n_speakers": int(second["speaker"].nunique())}


def _lost_checks(first: Run, second: Run) -> list[str]:
    passed, failed = (
        {
            (check["test"], check["measure"].split(":")[0]): check
            for check in run.read_json("metrics.json", made_by="06_evaluate").get("checks", [])
            if check["passed"] is wanted
        }
        for run, wanted in ((first, True), (second, False))
    )
    return [
        f"no longer passes {test}: {failed[test, measure]['measure']} is "
        f"{failed[test, measure]['found']:.3f}, limit {failed[test, measure]['limit']:.3f}"
        for test, measure in sorted(passed.keys() & failed.keys())
    ]


def format_comparison(found: dict, first: str, second: str) -> str:
    """Two lines: the figures, and what they mean.

    Examples
    --------
    >>> found = {"uar": [0.5, 0.6], "difference": 0.1, "interval": [-0.02, 0.2], "n": 240,
    ...          "n_speakers": 4, "interval_unit": "speaker", "p_value": 0.25, "paired": True,
    ...          "verdict": "equal"}
    >>> print(format_comparison(found, "old", "new"))
    old → new: UAR 0.500 → 0.600, difference +0.100 [-0.020, +0.200], p = 0.25
    equal: the same 240 clips of 4 speakers cannot tell them apart (95 % interval over speakers)
    """
    a, b = found["uar"]
    low, high = found["interval"]
    chance = f", p = {found['p_value']:.2g}" if "p_value" in found else ""
    clips = f"{found['n']} clips of {found['n_speakers']} speakers"
    clips = f"the same {clips}" if found["paired"] else f"{clips}, others than the first run's,"
    says = "cannot tell them apart" if found["verdict"] == "equal" else f"say so of {second}"
    return (
        f"{first} → {second}: UAR {a:.3f} → {b:.3f}, difference {found['difference']:+.3f} "
        f"[{low:+.3f}, {high:+.3f}]{chance}\n"
        f"{found['verdict']}: {clips} {says} (95 % interval over {found['interval_unit']}s)"
    )
