"""What other models add to the shipped recipe's networks, on people whom none of them heard.

    python benchmarks/fusion.py

RAVDESS, eight emotions, the six published folds. The answers of the networks are those of
``folds.csv`` (learned with rooms and noise, as the model that ships) and of
``unhardened_folds.csv`` (without); beside them stand an LSTM (``ser cv``) and logistic regressions
on functionals and prosody and, where openSMILE is installed, on ComParE-2016. A mixture is a
weighted sum of log-probabilities; the weights are learned on the test speakers of the other folds,
never on those who are asked. Under a protocol of its own, the columns of a person are taken
relative to all clips of that person, whose emotions stay unknown. ``benchmarks/fusion.csv`` is the
table: UAR with a 95 % interval over speakers, against the shipped networks alone on the same clips,
and of women and men.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pretrain
import unhardened
from own_data import extract_compare
from scipy.optimize import minimize
from scipy.special import log_softmax
from sklearn.utils.class_weight import compute_sample_weight

from helpers.columns import PROTOCOLS
from helpers.corpora import class_order, load_corpora
from helpers.evaluation.comparison import compare_predictions
from helpers.evaluation.groups import score_groups
from helpers.evaluation.scores import score_predictions
from helpers.experiments.crossval import cross_validate
from helpers.features.extract import extract_features
from helpers.models.recipes import make_linear_model
from helpers.runs import Run, outputs_home
from helpers.sound.inspection import inspect_clips
from helpers.splits import make_split

TABLE = Path(__file__).with_name("fusion.csv")
FOLDS = range(1, 7)
OWN_CLIPS = f"{PROTOCOLS[0]}, the person's clips known"
SHIPPED, BARE, LSTM = "networks that ship", "networks without noise", "LSTM"
LINEAR, RELATIVE = "functionals", "functionals relative to the person"
COMPARE = "ComParE-2016"
MIXTURES = (
    (SHIPPED,),
    (BARE,),
    (LSTM,),
    (LINEAR,),
    (COMPARE,),
    (RELATIVE,),
    (SHIPPED, LSTM),
    (SHIPPED, LINEAR),
    (SHIPPED, BARE),
    (SHIPPED, BARE, LINEAR),
    (SHIPPED, BARE, LSTM, LINEAR),
    (SHIPPED, BARE, LSTM, LINEAR, COMPARE),
    (SHIPPED, RELATIVE),
    (SHIPPED, BARE, LSTM, RELATIVE),
)


def main() -> None:
    clips, _ = inspect_clips(load_corpora("ravdess"))
    clips = clips.reset_index(drop=True)
    classes = class_order(clips["emotion"])
    columns = read_columns(clips)
    people = columns.groupby(clips["speaker"])
    relative = (columns - people.transform("mean")) / (people.transform("std") + 1e-9)
    members = {
        SHIPPED: read_networks(clips, pretrain.ANSWERS),
        BARE: read_networks(clips, unhardened.ANSWERS),
        LSTM: ask_lstm(clips, classes),
        LINEAR: ask_linear(clips, columns, classes),
        RELATIVE: ask_linear(clips, relative.fillna(0), classes),
    }
    smile = extract_compare(clips, Run(outputs_home() / "own_data"))
    if smile is not None:
        members[COMPARE] = ask_linear(clips, smile, classes)
    alone = name_emotions(clips, members[SHIPPED], classes)
    rows = []
    for names in [names for names in MIXTURES if set(names) <= set(members)]:
        answers = name_emotions(clips, fuse(clips, [members[name] for name in names]), classes)
        score = score_predictions(answers, classes, protocol=PROTOCOLS[0])
        gain = compare_predictions(alone, answers, classes)
        row = {"answers": " + ".join(names)}
        row["protocol"] = OWN_CLIPS if RELATIVE in names else PROTOCOLS[0]
        row |= {"uar": score["uar"], **name_ends("uar", score["uar_interval"])}
        row |= {"gain": gain["difference"], **name_ends("gain", gain["interval"])}
        by_gender, _ = score_groups(answers, {"gender": answers["gender"]}, classes)
        row |= dict(zip(by_gender["group"], by_gender["uar"], strict=True))
        rows.append(row)
    table = pd.DataFrame(rows)
    table.to_csv(TABLE, index=False, float_format="%.3f")
    print(table.round(3).to_string(index=False))


def read_columns(clips: pd.DataFrame) -> pd.DataFrame:
    """Functionals and prosody, one row per clip."""
    tables = extract_features(clips, family=["functionals", "prosody"])
    columns = pd.concat(tables.values(), axis=1)
    return columns.fillna(columns.median())


def name_ends(what: str, interval: list[float]) -> dict[str, float]:
    """The ends of an interval as cells of the table."""
    return {f"{what} low": interval[0], f"{what} high": interval[1]}


def name_emotions(clips: pd.DataFrame, values: np.ndarray, classes: list[str]) -> pd.DataFrame:
    """The clips with the likeliest emotion."""
    return clips.assign(predicted=np.asarray(classes, dtype=object)[values.argmax(axis=1)])


def read_networks(clips: pd.DataFrame, table: Path) -> np.ndarray:
    """What the three networks of each fold say together of its test speakers, uncalibrated."""
    answers = pd.read_csv(table).set_index("path")
    names = [Path(path).name for path in clips["path"]]
    return pretrain.average_answers(answers.loc[names], pretrain.SEEDS)


def ask_lstm(clips: pd.DataFrame, classes: list[str]) -> np.ndarray:
    """The recipe ``lstm``, as ``ser cv`` trains it."""
    run = Run(outputs_home() / "cv-ravdess-lstm")
    answers = cross_validate(clips, "lstm", run=run)
    return answers.set_index("path").loc[clips["path"], classes].to_numpy()


def ask_linear(clips: pd.DataFrame, columns: pd.DataFrame, classes: list[str]) -> np.ndarray:
    """A logistic regression for each fold, which learns from all speakers but its test speakers."""
    found = np.zeros((len(clips), len(classes)))
    x = columns.to_numpy(dtype="float64")
    for fold in FOLDS:
        tested = (make_split(clips, fold=fold) == "test").to_numpy()
        model = make_linear_model().fit(x[~tested], clips["emotion"][~tested])
        order = [model.classes_.tolist().index(name) for name in classes]
        found[tested] = model.predict_proba(x[tested])[:, order]
    return found


def fuse(clips: pd.DataFrame, members: list[np.ndarray]) -> np.ndarray:
    """Weighted sum of log-probabilities; each fold's weights are learned on all other folds.

    The weights are those with the least cross-entropy, emotions counted alike, and positive.
    """
    logs = np.log(np.maximum(members, 1e-6))
    targets = clips["emotion"].map(pretrain.CLASSES.index).to_numpy()
    fused = np.zeros(logs.shape[1:])
    for fold in FOLDS:
        tested = (make_split(clips, fold=fold) == "test").to_numpy()
        said, true = logs[:, ~tested], targets[~tested]
        counts = compute_sample_weight("balanced", true)
        start = np.full(len(members), 1 / len(members))
        bounds = [(0, None)] * len(members)
        found = minimize(cross_entropy, start, args=(said, true, counts), bounds=bounds)
        fused[tested] = np.tensordot(found.x, logs[:, tested], axes=1)
    return fused


def cross_entropy(weights: np.ndarray, logs: np.ndarray, true: np.ndarray, counts) -> float:
    """Of the weighted log-probabilities ``(n_members, n_clips, n_classes)``; clips count so."""
    answers = log_softmax(np.tensordot(weights, logs, axes=1), axis=1)
    return -np.average(answers[np.arange(len(true)), true], weights=counts)


if __name__ == "__main__":
    main()
