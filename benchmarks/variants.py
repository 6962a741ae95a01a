"""Other ways to train one network: taught by three, and with a second output.

    python benchmarks/variants.py --folds 1,3,5 & python benchmarks/variants.py --folds 2,4,6

On the validation speakers of the RAVDESS folds; test sides are not looked at. Each fold has three
networks of the shipped shape and training but for fewer epochs, without the fold's validation and
test speakers. Beside them stand

- a student: as many epochs, half of its loss is how far it is from what the three together say of
  the very same spoilt picture,
- a network that also says whether the emotion is strong: it has an output for each emotion and
  intensity, and their sums are learned where only the emotion is known.

What each said is kept under ``outputs/variants``; ``variants.csv`` is the table.
"""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import product
from pathlib import Path

import pandas as pd
import pretrain
from hardening import harden_frames
from sklearn.metrics import balanced_accuracy_score
from student import make_student
from validation import ask_folds, learn, name_clips, prepare

from helpers.evaluation.comparison import compare_predictions
from helpers.models.builders import average, build_cnn
from helpers.models.training import prepare_keras
from helpers.runs import Run
from helpers.sound.disturbances import AS_RECORDED

EPOCHS = 24
THREE = pretrain.SEEDS
STUDENT, SECOND = "student of the three", "intensity as second output"
INTENSITIES = ("normal", "strong")
JOINT = [f"{emotion} {intensity}" for emotion in pretrain.CLASSES for intensity in INTENSITIES]
ASKED_FOR_INTENSITY = (1, 2)  # where it brought nothing; the other folds went without
TABLE = Path(__file__).with_name("variants.csv")


def main() -> None:
    ask_folds("variants", ask, tabulate, TABLE, __doc__)


def ask(clips: pd.DataFrame, fold: int, run: Run) -> pd.DataFrame:
    """What each network says of each validation clip, one row per clip and condition."""
    x, split, heard = prepare(clips, fold, run)
    prepare_keras(0)
    three = [train(x, clips, split, seed) for seed in THREE]
    models = {str(seed): model for seed, model in zip(THREE, three, strict=True)}
    models[STUDENT] = train(x, clips, split, 3, teacher=average(three, name="teachers"))
    if fold in ASKED_FOR_INTENSITY:
        models[SECOND] = train(x, spell_out(clips), split, 4, classes=JOINT)
    parts = []
    for condition, pictures in heard.items():
        answers = name_clips(clips, split, fold=fold, condition=condition)
        for name, model in models.items():
            said = model.predict(pictures.astype("float32"), batch_size=256, verbose=0)
            if name == SECOND:
                said = said.reshape(len(said), -1, len(INTENSITIES))
                answers["strong"] = said[..., 1].sum(axis=1).round(4)
                said = said.sum(axis=2)
            answers[pretrain.name_columns(name)] = said.round(4)
        parts.append(answers)
    return pd.concat(parts, ignore_index=True)


def train(x, clips, split, seed: int, *, classes=pretrain.CLASSES, teacher=None):
    """One network; a teacher or joint classes give it a loss of its own."""
    import keras

    keras.utils.set_random_seed(seed)
    body = build_cnn(x.shape[1:], len(classes), name=f"cnn_{seed}", **pretrain.SHAPE)
    learner = body
    if teacher is not None:
        learner = make_student(body, teacher)
    elif classes == JOINT:
        learner = make_two_headed(body)
    settings = replace(pretrain.SETTINGS, epochs=EPOCHS, wait=EPOCHS, patience=EPOCHS, seed=seed)
    learn(learner, x, clips, split, settings, harden_frames, classes=classes)
    return body


def spell_out(clips: pd.DataFrame) -> pd.DataFrame:
    """The clips with emotion and intensity in one word; both intensities where none is known."""
    shares = []
    for clip in clips.itertuples():
        known = [clip.intensity] if clip.intensity in INTENSITIES else INTENSITIES
        shares.append(json.dumps({f"{clip.emotion} {name}": 1 / len(known) for name in known}))
    return clips.assign(shares=shares)


def make_two_headed(body):
    """The same network, which learns the emotion of all clips and the intensity of some."""
    import keras
    from keras import ops

    n = len(INTENSITIES)

    class TwoHeaded(keras.Model):
        def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
            emotion = ops.sum(ops.reshape(y, (-1, len(JOINT) // n, n)), axis=2)
            said = ops.sum(ops.reshape(y_pred, (-1, len(JOINT) // n, n)), axis=2)
            own = super().compute_loss(x, emotion, said, sample_weight, training)
            known = ops.cast(ops.max(y, axis=1) > 0.9, "float32")
            right = ops.sum(y * y_pred, axis=1) / (ops.sum(emotion * said, axis=1) + 1e-7)
            return own - ops.mean(known * ops.log(right + 1e-7))

    return TwoHeaded(body.inputs, body.outputs)


def tabulate(answers: pd.DataFrame) -> pd.DataFrame:
    """UAR of each system on all validation speakers, against one network on the same clips."""
    systems = {
        "one network": [(seed,) for seed in THREE],
        "three together": [THREE],
        **{name: [(name,)] for name in (STUDENT, SECOND)},
    }
    rows = []
    for name, choices in systems.items():
        answers = answers.dropna(subset=pretrain.name_columns(choices[0][0]))
        clean = answers[answers["condition"] == AS_RECORDED]
        pairs = product(systems["one network"], choices)
        one, other = (mix(clean, side) for side in zip(*pairs, strict=True))
        gain = compare_predictions(one, other, pretrain.CLASSES)
        low, high = gain["interval"]
        row = {"system": name, "folds": clean["fold"].nunique(), "uar": gain["uar"][1]}
        row |= {"gain": gain["difference"], "low": low, "high": high}
        as_it_is = mix(clean, choices)
        for condition, part in answers.groupby("condition", sort=False):
            if condition != AS_RECORDED:
                lost = compare_predictions(mix(part, choices), as_it_is, pretrain.CLASSES)
                row[f"lost: {condition}"] = lost["difference"]
        rows.append(row)
    asked = clean[clean["emotion"] != "neutral"]  # which is never strong
    intensity = balanced_accuracy_score(asked["intensity"] == "strong", asked["strong"] > 0.5)
    rows[-1]["uar of intensity"] = intensity
    return pd.DataFrame(rows)


def mix(answers: pd.DataFrame, choices) -> pd.DataFrame:
    """As :func:`pretrain.mix`; the clips of each choice have names of their own."""
    mixed = pretrain.mix(answers, choices)
    names = mixed["seed"].astype(str) + " " + mixed["fold"].astype(str) + " " + mixed["path"]
    return mixed.assign(sha256=names)


if __name__ == "__main__":
    main()
