"""Which changes of the recipe help? Several at once, on validation speakers of all six folds.

One change at a time would cost hours, since two trainings of one recipe differ by 0.02. Here each
training has its own mixture of changes. By the plan, every change is made in half of the trainings
or nearly so, and its effect is estimated from all of them. Test sides are not looked at. The
answers of each training are kept under ``outputs/screening``; ``screening.csv`` is the table.

    python benchmarks/screening.py --part 1/2 &  python benchmarks/screening.py --part 2/2
"""

from __future__ import annotations

import argparse
import time
from dataclasses import replace
from functools import partial
from pathlib import Path

import hardening
import numpy as np
import pandas as pd
import pretrain
from validation import learn, prepare

from helpers.evaluation.scores import confusion_counts, uar
from helpers.models.builders import build_cnn
from helpers.models.training import prepare_keras
from helpers.runs import Run, outputs_home
from helpers.sound.disturbances import AS_RECORDED
from helpers.splits import make_split

EPOCHS = 24
PER_FOLD = 3
CHANGES = {
    "shift": "voices moved by up to 4 further bands",
    "warp": "frequencies stretched by up to 12 %, as a longer or shorter throat does",
    "mask": "two further bands hidden",
    "attention": "four weighted means over time beside mean and maximum",
    "wide": "256 instead of 128 filters over time",
    "spoil": "80 instead of 60 % of the clips in noise and rooms",
    "dropout": "0.4 instead of 0.2",
    # And, of each training, weights averaged over the last quarter of the epochs.
}
#: One row per training, one column per change: 18 trainings whose effects are nearly uncorrelated.
PLAN = """
+-+-+-+ -++--++ ---+-+- --+--++ -+++--+ ++--+-- +++--+- ---++-+ +--+---
--+---- -+--+++ ++-+-++ +-+++++ -+----+ ----++- -++++-- +-----+ ----+++
""".split()
TABLE = Path(__file__).with_name("screening.csv")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--part", default="1/1", help="which of how many parts of the plan")
    part, parts = map(int, parser.parse_args().part.split("/"))
    run = Run(outputs_home() / "screening")
    clips = pretrain.read_clips(run)
    # Whole folds, so that no two processes write the same disturbed clips.
    numbers = np.array_split(np.arange(len(PLAN)), parts)[part - 1]
    for number in map(int, numbers):
        path = run.path(f"training-{number}.npz")
        if not path.is_file():
            np.savez_compressed(path, **train(run, clips, number))
            print(number, PLAN[number], flush=True)
    if all(run.path(f"training-{number}.npz").is_file() for number in range(len(PLAN))):
        table = estimate_effects(run, clips)
        table.to_csv(TABLE, index=False, float_format="%.3f")
        print(table.to_string(index=False))


def train(run: Run, clips: pd.DataFrame, number: int) -> dict:
    """One training of the plan: its answers for validation speakers, as recorded and disturbed."""
    changed = {name: sign == "+" for name, sign in zip(CHANGES, PLAN[number], strict=True)}
    fold = 1 + number // PER_FOLD
    x, split, heard = prepare(clips, fold, run)
    prepare_keras(number)
    model = build_cnn(
        x.shape[1:],
        len(pretrain.CLASSES),
        filters=256 if changed["wide"] else 128,
        heads=4 if changed["attention"] else 0,
    )
    if changed["dropout"]:
        [layer] = [layer for layer in model.layers if "dropout" in layer.name]
        layer.rate = 0.4
    kept = keep_weights(model)
    begin = time.perf_counter()
    augment = partial(
        hardening.harden_frames,
        clean_share=0.2 if changed["spoil"] else 0.4,
        shift_bands=4.0 if changed["shift"] else 0.0,
        warp=0.12 if changed["warp"] else 0.0,
        masks=2 if changed["mask"] else 0,
    )
    settings = replace(pretrain.SETTINGS, epochs=EPOCHS, wait=EPOCHS, patience=EPOCHS, seed=number)
    learn(model, x, clips, split, settings, augment)
    found = {"minutes": (time.perf_counter() - begin) / 60}
    for kind in ("last", "averaged"):
        if kind == "averaged":
            model.set_weights([np.mean(values, axis=0) for values in zip(*kept, strict=True)])
        for condition, pictures in heard.items():
            said = model.predict(pictures.astype("float32"), batch_size=256, verbose=0)
            found[f"{kind}: {condition.replace('/', ' per ')}"] = said
    return found


def keep_weights(model) -> list:
    """The list to which the weights of each epoch of the last quarter will be added."""
    import keras

    kept: list = []

    class Keep(keras.callbacks.Callback):
        def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
            if epoch >= EPOCHS * 3 // 4:
                kept.append(self.model.get_weights())

    fit = model.fit
    model.fit = lambda *data, callbacks, **how: fit(*data, callbacks=[*callbacks, Keep()], **how)
    return kept


def estimate_effects(run: Run, clips: pd.DataFrame) -> pd.DataFrame:
    """Least squares: a level per fold and a difference per change, with a 95 % interval.

    Beside the UAR as recorded: what each disturbance takes away, and how the change alters that.
    """
    from scipy.stats import t

    scores = score_trainings(run, clips)
    clean = scores[f"last: {AS_RECORDED}"]
    plan = np.array([[sign == "+" for sign in row] for row in PLAN], dtype=float)
    x = np.hstack([plan, np.repeat(np.eye(len(PLAN) // PER_FOLD), PER_FOLD, axis=0)])
    inverse = np.linalg.inv(x.T @ x)
    free = len(x) - x.shape[1]
    effects = inverse @ x.T @ clean
    error = np.sqrt(((clean - x @ effects) ** 2).sum() / free * inverse.diagonal())
    width = t.ppf(0.975, free) * error
    table = pd.DataFrame({"change": list(CHANGES), "trainings with it": plan.sum(axis=0)})
    n = len(CHANGES)
    table["uar"], table["low"], table["high"] = (
        effects[:n],
        (effects - width)[:n],
        (effects + width)[:n],
    )
    for name in [name for name in scores if name.startswith("last: ") and AS_RECORDED not in name]:
        lost = clean - scores[name]
        table[name.replace("last:", "lost:")] = (inverse @ x.T @ lost)[:n]
    gained = scores[f"averaged: {AS_RECORDED}"] - clean
    width = t.ppf(0.975, len(gained) - 1) * gained.std(ddof=1) / np.sqrt(len(gained))
    table.loc[n] = {"change": "averaged", "trainings with it": len(gained), "uar": gained.mean(),
                    "low": gained.mean() - width, "high": gained.mean() + width}  # fmt: skip
    print(f"UAR of the trainings: {np.round(clean, 3)}, mean {clean.mean():.3f}")
    return table


def score_trainings(run: Run, clips: pd.DataFrame) -> dict[str, np.ndarray]:
    """UAR on the validation side by last or averaged weights and condition, one per training."""
    speech = clips[clips["corpus"] == "ravdess"]
    scores: dict[str, list[float]] = {}
    for number in range(len(PLAN)):
        true = speech[make_split(speech, fold=1 + number // PER_FOLD) == "validation"]["emotion"]
        parts = dict(np.load(run.path(f"training-{number}.npz")))
        del parts["minutes"]
        for name, answers in parts.items():
            said = pd.Series(pretrain.CLASSES)[answers.argmax(axis=1)].set_axis(true.index)
            counts = confusion_counts(true, said, pretrain.CLASSES)
            scores.setdefault(name, []).append(float(uar(counts)))
    return {name: np.array(values) for name, values in scores.items()}


if __name__ == "__main__":
    main()
