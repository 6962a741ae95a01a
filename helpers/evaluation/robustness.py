"""How much of a model's answers survives when the sound is no longer as it was recorded.

The conditions and their limits are in :mod:`helpers.sound.disturbances`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from helpers.columns import CHECKS
from helpers.evaluation.scores import confusion_counts, make_check, uar
from helpers.parallel import map_clips
from helpers.sound.audio import load_audio
from helpers.sound.augment import pick_voices
from helpers.sound.disturbances import AS_RECORDED, CONDITIONS, Condition, disturb, leave, make_rng

_BLOCK = 24  # clips whose changed versions wait in memory: 55 of 4 s take 14 MB
_VOICES = 5


def measure_robustness(
    predictor,
    clips: pd.DataFrame,
    *,
    voices: pd.DataFrame,
    conditions: Sequence[Condition] = CONDITIONS,
    seed: int = 0,
) -> pd.DataFrame:
    """Ask a model about clips as they are and as they are changed.

    Processes change the sound, this one predicts. Memory does not grow with the clips.

    Parameters
    ----------
    predictor : helpers.models.prediction.Predictor
    clips : pd.DataFrame
        Rows of an utterance table to be tested: ``path emotion speaker``.
    voices : pd.DataFrame
        Rows that babble is made of, of the training set; for each clip, those of other speakers.
    seed : int
        What is drawn for a clip depends on it and on the clip's file name, not on the other clips.

    Returns
    -------
    pd.DataFrame
        One row per condition, before them one ``as recorded``: ``group condition level``, ``n``
        (clips that could be changed), ``uar`` (of the changed clips), ``drop`` (UAR of the same
        clips as recorded minus that; < 0 where the change helps), ``allowed_drop`` (NaN: no
        limit), ``same`` (share of clips whose predicted emotion is that of the condition compared
        with, mostly as recorded), ``needed_same`` (NaN: no limit), ``passed`` (True, False; None
        without a limit or a clip), ``note`` (what failed).
    """
    conditions = [Condition(AS_RECORDED, AS_RECORDED, leave), *conditions]
    found, errors = _ask(predictor, clips, voices, conditions, seed=seed)
    true = clips["emotion"].reset_index(drop=True)
    rows = [_make_row(c, found, errors, true, predictor.classes) for c in conditions]
    numbers = ["level", "uar", "drop", "allowed_drop", "same", "needed_same"]
    return pd.DataFrame(rows).astype(dict.fromkeys(numbers, float) | {"passed": object})


def _ask(
    predictor, clips: pd.DataFrame, voices: pd.DataFrame, conditions: list[Condition], *, seed: int
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Predicted emotions, and errors: one row per clip, one column per condition."""
    names = [condition.name for condition in conditions]
    found = pd.DataFrame("", index=range(len(clips)), columns=names, dtype=object)
    errors = found.copy()
    side = voices.assign(side="train")
    for start in range(0, len(clips), _BLOCK):
        jobs = {}
        block = clips.iloc[start : start + _BLOCK]
        for place, clip in enumerate(block.itertuples(), start):
            name, y = Path(clip.path).name, load_audio(clip.path)
            others = pick_voices(side, "side", clip.speaker, make_rng(seed, name), n=_VOICES)
            for condition in conditions:
                heard = others if condition.needs_voices else []
                jobs[place, condition.name] = (y, name, heard, condition, seed)
        label = f"Changing clips {start + 1} to {start + len(block)} of {len(clips)}"
        results = zip(jobs, map_clips(disturb, jobs.values(), label=label), strict=True)
        waves = {}
        for key, result in results:
            if isinstance(result, str):
                errors.loc[key] = result
            else:
                waves[key] = result
        said = predictor.predict_waves(list(waves.values()))["emotion"]
        for key, emotion in zip(waves, said, strict=True):
            found.loc[key] = emotion
    return found, errors


def _make_row(
    condition: Condition,
    found: pd.DataFrame,
    errors: pd.DataFrame,
    true: pd.Series,
    classes: list[str],
) -> dict:
    """Figures of one condition, on the clips that it and what it is compared with could change."""
    said, before = found[condition.name], found[condition.compared_with]
    heard = (said != "") & (before != "")
    failed = errors.loc[~heard, [condition.name, condition.compared_with]].max(axis=1)
    counts, recorded = (
        confusion_counts(true[heard], answers[heard], classes)
        for answers in (said, found[AS_RECORDED])
    )
    recall = float(uar(counts)) if heard.any() else np.nan
    row = {
        "group": condition.group,
        "condition": condition.name,
        "level": condition.level,
        "n": int(heard.sum()),
        "uar": recall,
        "drop": uar(recorded) - recall,
        "allowed_drop": condition.max_drop,
        "same": (said[heard] == before[heard]).mean(),
        "needed_same": condition.min_same,
    }
    met = [check["passed"] for check in _check_limits(row)]
    note = f"{len(failed)} of {len(found)} clips failed: {failed.iloc[0]}" if len(failed) else ""
    return row | {"passed": all(met) if met and heard.any() else None, "note": note}


def _check_limits(row: dict) -> list[dict]:
    """One check per limit of a row: UAR drop at most, unchanged predictions at least."""
    limits = (
        ("UAR drop", "drop", "allowed_drop"),
        ("unchanged predictions", "same", "needed_same"),
    )
    return [
        make_check(row["condition"], measure, row[found], row[limit], row["n"],
                   at_least=found == "same")
        for measure, found, limit in limits
        if pd.notna(row[limit])
    ]  # fmt: skip


def to_checks(table: pd.DataFrame) -> pd.DataFrame:
    """The limits of a robustness table, one row per limit, for a table with other checks.

    The columns are ``test measure found limit passed n``; ``passed`` is None without a clip.
    """
    checks = [check for row in table.to_dict("records") for check in _check_limits(row)]
    return pd.DataFrame(checks, columns=CHECKS).astype({"passed": object})
