"""What `screening.py`, `settling.py` and `variants.py` share: they ask validation speakers only."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pretrain
from fused import fuse_normalisation
from search import disturb_side

from helpers.features.extract import extract_features
from helpers.models.training import TrainingSettings, fit_model
from helpers.runs import Run, outputs_home
from helpers.sound.disturbances import AS_RECORDED
from helpers.splits import make_split


def prepare(clips: pd.DataFrame, fold: int, run: Run) -> tuple[np.ndarray, pd.Series, dict]:
    """Log-mel of all clips, their sides, and the validation side's log-mel in each condition.

    Test speakers of the fold, and people whom ``pretrain.py`` holds back, are on no side in use.
    """
    speech = clips[clips["corpus"] == "ravdess"]
    side = make_split(speech, fold=fold)
    split = pd.Series("train", index=clips.index)
    split[side.index] = side
    split[clips["speaker"].isin(pretrain.HELD_OUT)] = "kept out"
    x = extract_features(clips, family="logmel", settings=pretrain.FEATURES, n_jobs=1)
    heard = disturb_side(speech, side, "128", run.path(f"heard-fold-{fold}.npz"))
    return x, split, {AS_RECORDED: np.asarray(x[split == "validation"]), **heard}


def learn(
    model,
    x: np.ndarray,
    clips: pd.DataFrame,
    split: pd.Series,
    settings: TrainingSettings,
    augment: Callable,
    *,
    classes: list[str] = pretrain.CLASSES,
) -> None:
    """Train a network as ``pretrain.py`` does."""
    with fuse_normalisation(model):
        fit_model(
            model,
            x,
            clips,
            split,
            classes=classes,
            settings=settings,
            augment=augment,
            share=pretrain.count_draws(clips),
        )


def name_clips(clips: pd.DataFrame, split: pd.Series, **facts: object) -> pd.DataFrame:
    """The validation clips, one row per clip, to which answers are added."""
    columns = ["path", "speaker", "emotion", "intensity"]
    held = clips.loc[split == "validation", columns].reset_index(drop=True)
    return held.assign(path=[Path(path).name for path in held["path"]], **facts)


def ask_folds(
    folder: str,
    ask: Callable[[pd.DataFrame, int, Run], pd.DataFrame],
    tabulate: Callable[[pd.DataFrame], pd.DataFrame],
    table: Path,
    doc: str | None,
) -> None:
    """Ask on the folds of ``--folds`` what is not kept yet, and write the table of all that is."""
    parser = argparse.ArgumentParser(description=doc)
    parser.add_argument("--folds", default="1,2,3,4,5,6")
    run = Run(outputs_home() / folder)
    clips = pretrain.read_clips(run)
    for fold in map(int, parser.parse_args().folds.split(",")):
        if not run.path(f"fold {fold}.csv").is_file():
            begin = time.perf_counter()
            run.save_table(ask(clips, fold, run), f"fold {fold}.csv")
            print(f"fold {fold}: {(time.perf_counter() - begin) / 60:.1f} min", flush=True)
    done = sorted(run.folder.glob("fold *.csv"))
    found = tabulate(pd.concat([pd.read_csv(path) for path in done], ignore_index=True))
    found.to_csv(table, index=False, float_format="%.3f")
    print(found.round(3).T.to_string())
