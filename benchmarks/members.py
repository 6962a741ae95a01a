"""Networks with and without rooms and noise in one file, and a gate that hears which to trust.

    python benchmarks/members.py --folds 1,3 & python benchmarks/members.py --folds 2,5

On the validation speakers of RAVDESS folds; test sides are not looked at. Each fold has one network
of the shipped shape and training but for fewer epochs, another one without
:func:`hardening.harden_frames`, and a small network that tells spoilt pictures from clean ones.
Where the gate hears a spoilt picture, the first answers; else both do.

What each said is kept under ``outputs/members``; ``members.csv`` is the table.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pretrain
from hardening import harden_frames
from validation import ask_folds, learn, name_clips, prepare

from helpers.evaluation.comparison import compare_predictions
from helpers.models.builders import build_cnn
from helpers.models.training import prepare_keras
from helpers.runs import Run
from helpers.sound.augment import augment_frames
from helpers.sound.disturbances import AS_RECORDED

EPOCHS, GATE_EPOCHS, BATCH = 24, 2, 32
HARDENED, BARE, GATE = "hardened", "bare", "spoilt"
TABLE = Path(__file__).with_name("members.csv")


def main() -> None:
    ask_folds("members", ask, tabulate, TABLE, __doc__)


def ask(clips: pd.DataFrame, fold: int, run: Run) -> pd.DataFrame:
    """What each network says of each validation clip, one row per clip and condition."""
    x, split, heard = prepare(clips, fold, run)
    models = {
        HARDENED: train(x, clips, split, 0, harden_frames),
        BARE: train(x, clips, split, 1, augment_frames),
    }
    gate = train_gate(x, clips, split)
    parts = []
    for condition, pictures in heard.items():
        pictures = pictures.astype("float32")
        answers = name_clips(clips, split, fold=fold, condition=condition)
        for name, model in models.items():
            said = model.predict(pictures, batch_size=256, verbose=0)
            answers[pretrain.name_columns(name)] = said.round(4)
        answers[GATE] = gate.predict(pictures, batch_size=256, verbose=0)[:, 0].round(4)
        parts.append(answers)
    return pd.concat(parts, ignore_index=True)


def train(x, clips, split, seed: int, augment):
    """One network of the shipped shape."""
    prepare_keras(seed)
    body = build_cnn(x.shape[1:], len(pretrain.CLASSES), name=f"cnn_{seed}", **pretrain.SHAPE)
    settings = replace(pretrain.SETTINGS, epochs=EPOCHS, wait=EPOCHS, patience=EPOCHS, seed=seed)
    learn(body, x, clips, split, settings, augment)
    return body


def train_gate(x, clips, split):
    """A network that says how likely a picture is spoilt; half of what it learns from is."""
    import keras

    prepare_keras(2)
    body = build_gate(x.shape[2])
    body.compile(keras.optimizers.Adam(0.002), "binary_crossentropy")
    rng, train = np.random.default_rng(2), np.flatnonzero(split == "train")
    draws = pretrain.count_draws(clips).to_numpy()[train]
    size = int(draws.sum())
    for place in range(GATE_EPOCHS * size // BATCH):
        rows = np.sort(rng.choice(train, BATCH, p=draws / draws.sum()))
        batch = x[rows].astype("float32")
        spoilt = np.arange(BATCH) % 2 == 0
        batch[spoilt] = harden_frames(batch[spoilt], rng, clean_share=0.0)
        batch[~spoilt] = augment_frames(batch[~spoilt], rng)
        loss = body.train_on_batch(batch, spoilt[:, None].astype("float32"))
        if place % 50 == 0:
            print(f"gate, batch {place}: loss {float(np.ravel(loss)[0]):.3f}", flush=True)
    return body


def build_gate(n_mels: int):
    """Loudest, mean and softest of each band, and how it moves, in two layers."""
    from keras import Input, Model, layers, ops

    inputs = Input((None, n_mels), name="log_mel_frames")
    x = layers.Rescaling(1 / 80)(inputs)
    steps = ops.mean(ops.abs(x[:, 1:] - x[:, :-1]), axis=1)
    parts = [ops.max(x, axis=1), ops.mean(x, axis=1), ops.min(x, axis=1), steps]
    z = layers.BatchNormalization(momentum=0.95)(layers.Concatenate()(parts))
    z = layers.Dense(64, activation="relu")(z)
    return Model(inputs, layers.Dense(1, activation="sigmoid")(z), name="gate")


def tabulate(answers: pd.DataFrame) -> pd.DataFrame:
    """UAR of each way to mix on all validation speakers, against the hardened network alone."""
    hardened, bare = (answers[pretrain.name_columns(name)].to_numpy() for name in (HARDENED, BARE))
    trust = 1 - answers[[GATE]].to_numpy()  # in the bare one
    ways = {
        "hardened": hardened,
        "bare": bare,
        "mean": (hardened + bare) / 2,
        "geometric mean": np.sqrt(hardened * bare),
        "mean by the gate": hardened + trust * bare,
    }
    alone = name_emotions(answers, hardened)
    rows = []
    for way, values in ways.items():
        said = name_emotions(answers, values)
        clean = said[said["condition"] == AS_RECORDED]
        gain = compare_predictions(
            alone[alone["condition"] == AS_RECORDED], clean, pretrain.CLASSES
        )
        low, high = gain["interval"]
        row = {"system": way, "folds": clean["fold"].nunique(), "uar": gain["uar"][1]}
        row |= {"gain": gain["difference"], "low": low, "high": high}
        for condition, part in said.groupby("condition", sort=False):
            if condition != AS_RECORDED:
                lost = compare_predictions(part, clean, pretrain.CLASSES)
                row[f"lost: {condition}"] = lost["difference"]
        rows.append(row)
    return pd.DataFrame(rows)


def name_emotions(answers: pd.DataFrame, values: np.ndarray) -> pd.DataFrame:
    """The likeliest emotion of each row; each clip of a fold has a name of its own."""
    said = np.asarray(pretrain.CLASSES, dtype=object)[values.argmax(axis=1)]
    return answers.assign(predicted=said, sha256=answers["fold"].astype(str) + answers["path"])


if __name__ == "__main__":
    main()
