"""Do a few last epochs on clean clips bring back what hardening costs, and what do they take?

    python benchmarks/settling.py --folds 1,2,3 & python benchmarks/settling.py --folds 4,5,6

On the validation speakers of the RAVDESS folds; test sides are not looked at. Each fold has one
network of the shipped shape and training but for fewer epochs, without the fold's validation and
test speakers. It is asked as it is, and after a few further epochs at a low rate in which most or
all clips are clean, each time from the same weights. What was said is kept under
``outputs/settling``; ``settling.csv`` is the table.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pretrain
from fused import fuse_normalisation
from hardening import harden_frames
from search import disturb_side

from helpers.evaluation.comparison import compare_predictions
from helpers.features.extract import extract_features
from helpers.models.builders import build_cnn
from helpers.models.training import TrainingSettings, fit_model, prepare_keras
from helpers.runs import Run, outputs_home
from helpers.sound.augment import augment_frames
from helpers.sound.disturbances import AS_RECORDED
from helpers.splits import make_split

BASE = "as trained"
MOSTLY_CLEAN = partial(harden_frames, clean_share=0.8)


def brief(epochs: int, rate: float) -> TrainingSettings:
    """So many epochs at this highest rate; the last one is kept."""
    return replace(
        pretrain.SETTINGS, epochs=epochs, wait=epochs, patience=epochs, learning_rate=rate
    )


#: How a network is trained, and how it may settle.
TRAINED = (brief(24, pretrain.SETTINGS.learning_rate), harden_frames)
SETTLED: dict[str, tuple[TrainingSettings, Callable]] = {
    "4 epochs, all clips clean": (brief(4, 3e-4), augment_frames),
    "4 epochs, 80 % clean": (brief(4, 3e-4), MOSTLY_CLEAN),
    "8 epochs, 80 % clean, twice the rate": (brief(8, 6e-4), MOSTLY_CLEAN),
}
TABLE = Path(__file__).with_name("settling.csv")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folds", default="1,2,3,4,5,6")
    run = Run(outputs_home() / "settling")
    clips = pretrain.read_clips(run)
    for fold in map(int, parser.parse_args().folds.split(",")):
        if not run.path(f"fold {fold}.csv").is_file():
            begin = time.perf_counter()
            run.save_table(ask(clips, fold, run), f"fold {fold}.csv")
            print(f"fold {fold}: {(time.perf_counter() - begin) / 60:.1f} min", flush=True)
    done = sorted(run.folder.glob("fold *.csv"))
    table = tabulate(pd.concat([pd.read_csv(path) for path in done], ignore_index=True))
    table.to_csv(TABLE, index=False, float_format="%.3f")
    print(table.round(3).T.to_string())


def ask(clips: pd.DataFrame, fold: int, run: Run) -> pd.DataFrame:
    """What the network says of each validation clip, one row per clip and condition."""
    x, split, heard = prepare(clips, fold, run)
    answers = None
    prepare_keras(fold)
    model = build_cnn(x.shape[1:], len(pretrain.CLASSES), **pretrain.SHAPE)
    trained = None
    for name, (settings, augment) in {BASE: TRAINED, **SETTLED}.items():
        if trained is not None:
            model.set_weights(trained)
        learn(model, x, clips, split, replace(settings, seed=fold), augment)
        trained = trained or model.get_weights()
        said = listen(model, clips, split, heard, name).assign(fold=fold)
        answers = said if answers is None else answers.join(said[pretrain.name_columns(name)])
    return answers


def prepare(clips: pd.DataFrame, fold: int, run: Run) -> tuple:
    """Log-mel of all clips, their sides, and that of the validation side in each condition."""
    speech = clips[clips["corpus"] == "ravdess"]
    side = make_split(speech, fold=fold)
    split = pd.Series("train", index=clips.index)
    split[side.index] = side
    split[clips["speaker"].isin(pretrain.HELD_OUT)] = "kept out"
    x = extract_features(clips, family="logmel", settings=pretrain.FEATURES, n_jobs=1)
    heard = disturb_side(speech, side, "128", run.path(f"heard-fold-{fold}.npz"))
    return x, split, {AS_RECORDED: np.asarray(x[split == "validation"]), **heard}


def learn(model, x, clips, split, settings: TrainingSettings, augment: Callable) -> None:
    """Train a network, as ``pretrain.py`` does."""
    with fuse_normalisation(model):
        fit_model(
            model,
            x,
            clips,
            split,
            classes=pretrain.CLASSES,
            settings=settings,
            augment=augment,
            share=pretrain.count_draws(clips),
        )


def listen(model, clips, split, heard: dict, name: str) -> pd.DataFrame:
    """What a network says of each validation clip, one row per clip and condition."""
    held = clips.loc[split == "validation", ["path", "speaker", "emotion"]]
    held["path"] = [Path(path).name for path in held["path"]]
    parts = []
    for condition, pictures in heard.items():
        answers = held.assign(condition=condition)
        said = model.predict(pictures.astype("float32"), batch_size=256, verbose=0)
        answers[pretrain.name_columns(name)] = said.round(4)
        parts.append(answers)
    return pd.concat(parts, ignore_index=True)


def tabulate(answers: pd.DataFrame, names=(BASE, *SETTLED)) -> pd.DataFrame:
    """UAR on all validation speakers as recorded and disturbed, against the first network."""
    rows = []
    for name in names:
        row = {"network": name, "folds": answers["fold"].nunique()}
        clean = None
        for condition, part in answers.groupby("condition", sort=False):
            before, after = (
                pretrain.mix(part.assign(sha256=part["path"]), [(one,)]) for one in (BASE, name)
            )
            found = compare_predictions(before, after, pretrain.CLASSES)
            clean = found["uar"][1] if condition == AS_RECORDED else clean
            if condition == AS_RECORDED:
                row |= {"uar": clean, "gain": found["difference"]}
                row |= dict(zip(("low", "high"), found["interval"], strict=True))
            else:
                row[f"lost: {condition}"] = clean - found["uar"][1]
        rows.append(row)
    return pd.DataFrame(rows)


if __name__ == "__main__":
    main()
