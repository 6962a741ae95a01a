"""Which front end and which training hear strangers best? Chosen on validation speakers only.

Each candidate learns from the training side of RAVDESS folds and is asked about their validation
side, as recorded and disturbed; test sides are not looked at. A part (candidate, fold, seed) is
kept under ``outputs/search``, so that what was killed is carried on; ``benchmarks/search.csv`` is
the table of all parts that are there.

    python benchmarks/search.py --folds 1,2 --seeds 1
"""

from __future__ import annotations

import argparse
import time
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
import pretrain
from hardening import harden_frames

from helpers.columns import PROTOCOLS
from helpers.corpora import class_order, load_corpora
from helpers.evaluation.groups import summarise
from helpers.evaluation.scores import confusion_counts, uar
from helpers.features.extract import FeatureSettings, compute_features, extract_features
from helpers.models.builders import build_cnn
from helpers.models.training import TrainingSettings, fit_model, prepare_keras
from helpers.runs import outputs_home
from helpers.sound.audio import load_audio
from helpers.sound.augment import augment_frames, pick_voices
from helpers.sound.disturbances import AS_RECORDED, CONDITIONS, disturb, make_rng
from helpers.splits import make_split

EPOCHS = 60
BANDS = {"64": FeatureSettings(), "128": pretrain.FEATURES}
#: Front end, what is drawn anew in every epoch, and whether pretrain.py's four corpora are learned,
#: by its recipe; else RAVDESS alone.
CANDIDATES = {
    "64": ("64", augment_frames, False),
    "64 hardened": ("64", harden_frames, False),
    "128": ("128", augment_frames, False),
    "128 hardened": ("128", harden_frames, False),
    "64 hardened, four corpora": ("64", harden_frames, True),
    "128 hardened, four corpora": ("128", harden_frames, True),
}
#: Several candidates whose probabilities are averaged: one file may hold them.
AVERAGES = {
    "two": ("64", "128"),
    "two hardened": ("64 hardened", "128 hardened"),
    "two hardened, four corpora": ("64 hardened, four corpora", "128 hardened, four corpora"),
}
HEARD = (
    *("white noise 20 dB", "babble 20 dB", "music 20 dB", "telephone", "medium room"),
    *("3 dB/octave darker", "3 dB/octave brighter"),
)
MAX_SEEDS = 10
TABLE = Path(__file__).with_name("search.csv")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folds", default="1,2", help="of the six published ones")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--candidates", default=";".join(CANDIDATES), help="separated by ;")
    chosen = parser.parse_args()
    clips = load_corpora("ravdess")
    folder = outputs_home() / "search"
    folder.mkdir(parents=True, exist_ok=True)
    folds = [int(fold) for fold in chosen.folds.split(",")]
    for seed, name, fold in product(range(chosen.seeds), chosen.candidates.split(";"), folds):
        path = name_part(folder, name, fold, seed)
        if not path.is_file():
            np.savez_compressed(path, **train(clips, name, fold=fold, seed=seed, folder=folder))
            tabulate(clips, folder, folds).to_csv(TABLE, index=False, float_format="%.3f")
            print(pd.read_csv(TABLE).to_string(index=False), flush=True)


def train(clips: pd.DataFrame, name: str, *, fold: int, seed: int, folder: Path) -> dict:
    """Probabilities of the validation side, one array per condition, and what they cost."""
    bands, augment, is_four = CANDIDATES[name]
    classes, split = class_order(clips["emotion"]), make_split(clips, fold=fold)
    x = extract_features(clips, family="logmel", settings=BANDS[bands], n_jobs=1)
    disturbed = disturb_side(clips, split, bands, folder / f"heard-{bands}-fold-{fold}.npz")
    begin = time.perf_counter()
    if is_four:
        every = load_corpora(list(pretrain.SHARE))
        sides = pretrain.choose_sides(every, f"ravdess fold {fold}")
        model = pretrain.train(every, sides, BANDS[bands], seed=seed, shape={})
    else:
        prepare_keras(seed)
        model = build_cnn(x.shape[1:], len(classes))
        # The last epoch: the validation side that judges must not choose one as well.
        settings = TrainingSettings(epochs=EPOCHS, wait=EPOCHS, patience=EPOCHS, seed=seed)
        fit_model(model, x, clips, split, classes=classes, settings=settings, augment=augment)
    found = {"minutes": (time.perf_counter() - begin) / 60, "parameters": model.count_params()}
    heard = {AS_RECORDED: np.asarray(x[split == "validation"]), **disturbed}
    for condition, pictures in heard.items():
        found[condition.replace("/", " per ")] = model.predict(
            pictures.astype("float32"), batch_size=256, verbose=0
        )
    return found


def disturb_side(clips: pd.DataFrame, split: pd.Series, bands: str, path: Path) -> dict:
    """Log-mel of the validation side in each condition of :data:`HEARD`."""
    if not path.is_file():
        side, voices = clips[split == "validation"], clips[split == "train"].assign(side="train")
        pictures = {name.replace("/", " per "): [] for name in HEARD}
        for clip in side.itertuples():
            y, name = load_audio(clip.path), Path(clip.path).name
            others = pick_voices(voices, "side", clip.speaker, make_rng(0, name))
            for condition in CONDITIONS:
                if condition.name in HEARD:
                    needed = others if condition.needs_voices else []
                    changed = disturb((y, name, needed, condition, 0))
                    frames = compute_features(changed, family="logmel", settings=BANDS[bands])
                    pictures[condition.name.replace("/", " per ")].append(frames)
        np.savez(path, **{name: np.stack(rows) for name, rows in pictures.items()})
    return dict(np.load(path))


def tabulate(clips: pd.DataFrame, folder: Path, folds: list[int]) -> pd.DataFrame:
    """One row per candidate and seed: UAR on validation speakers, and what disturbances cost."""
    rows = []
    for name, parts in {**{name: (name,) for name in CANDIDATES}, **AVERAGES}.items():
        for seed in range(MAX_SEEDS):
            files = {
                fold: [name_part(folder, part, fold, seed) for part in parts] for fold in folds
            }
            there = {fold: paths for fold, paths in files.items() if all(map(Path.is_file, paths))}
            if there:
                rows.append({"candidate": name, "seed": seed, **score(clips, there)})
    return pd.DataFrame(rows)


def name_part(folder: Path, candidate: str, fold: int, seed: int) -> Path:
    """Where the answers of one candidate, fold and seed are kept."""
    return folder / f"{candidate.replace(' ', '-')}-fold-{fold}-seed-{seed}.npz"


def score(clips: pd.DataFrame, paths: dict[int, list[Path]]) -> dict:
    """UAR over the validation speakers of all folds, and how far each disturbance lowers it."""
    classes, tables, minutes, parameters = class_order(clips["emotion"]), [], 0.0, 0
    for fold, files in paths.items():
        parts = [dict(np.load(path)) for path in files]
        minutes += sum(float(part.pop("minutes")) for part in parts)
        parameters = sum(int(part.pop("parameters")) for part in parts)
        side = clips[make_split(clips, fold=fold) == "validation"]
        for condition in parts[0]:
            answers = np.mean([part[condition] for part in parts], axis=0).argmax(axis=1)
            said = np.asarray(classes, dtype=object)[answers]
            table = side.assign(predicted=said, condition=condition, fold=fold, seed=0)
            tables.append(table)
    answers = pd.concat(tables)
    clean = answers[answers["condition"] == AS_RECORDED]
    whole = summarise(clean, protocol=PROTOCOLS[0], classes=classes)["uar"]
    row = {"folds": len(paths), "uar": whole["mean"]}
    row |= dict(zip(("low", "high"), whole["interval"], strict=True))
    for condition, part in answers.groupby("condition", sort=False):
        if condition != AS_RECORDED:
            counts = confusion_counts(part["emotion"], part["predicted"], classes)
            row[f"lost: {condition}"] = whole["mean"] - uar(counts)
    return row | {"parameters": parameters, "minutes": minutes}


if __name__ == "__main__":
    main()
