"""What other models add to the shipped recipe's network, on people whom none of them heard.

    python benchmarks/fusion.py

RAVDESS, eight emotions, the six published folds. The network's answers are those of
``pretrain.py``, which has to run before; beside it stand an LSTM (``ser cv``) and a logistic
regression on functionals and prosody. A mixture is the mean of their log-probabilities, all of one
weight: nothing is chosen. Under a protocol of its own, the columns of a person are taken relative
to all clips of that person, whose emotions stay unknown. ``benchmarks/fusion.csv`` is the table:
UAR with a 95 % interval over speakers, against the network alone on the same clips, and of women
and men.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

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
NETWORK, LSTM = "network", "LSTM"
LINEAR, RELATIVE = "functionals", "functionals relative to the person"
MIXTURES = (
    (NETWORK,),
    (LSTM,),
    (LINEAR,),
    (RELATIVE,),
    (NETWORK, LSTM),
    (NETWORK, LINEAR),
    (NETWORK, LSTM, LINEAR),
    (NETWORK, RELATIVE),
    (NETWORK, LSTM, RELATIVE),
)


def main() -> None:
    clips, _ = inspect_clips(load_corpora("ravdess"))
    classes = class_order(clips["emotion"])
    tables = extract_features(clips, family=["functionals", "prosody"])
    columns = pd.concat(tables.values(), axis=1)
    columns = columns.fillna(columns.median())
    people = columns.groupby(clips["speaker"])
    relative = (columns - people.transform("mean")) / (people.transform("std") + 1e-9)
    members = {
        NETWORK: read_network(clips, classes),
        LSTM: ask_lstm(clips, classes),
        LINEAR: ask_linear(clips, columns, classes),
        RELATIVE: ask_linear(clips, relative.fillna(0), classes),
    }
    alone = name_emotions(clips, members[NETWORK], classes)
    rows = []
    for names in MIXTURES:
        logs = sum(np.log(np.maximum(members[name], 1e-6)) for name in names)
        answers = name_emotions(clips, logs, classes)
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


def name_ends(what: str, interval: list[float]) -> dict[str, float]:
    """The ends of an interval as cells of the table."""
    return {f"{what} low": interval[0], f"{what} high": interval[1]}


def name_emotions(clips: pd.DataFrame, values: np.ndarray, classes: list[str]) -> pd.DataFrame:
    """The clips with the likeliest emotion."""
    return clips.assign(predicted=np.asarray(classes, dtype=object)[values.argmax(axis=1)])


def read_network(clips: pd.DataFrame, classes: list[str]) -> np.ndarray:
    """What the networks of each fold say together of its test speakers."""
    run = Run(outputs_home() / "pretraining")
    folds = [run.read_table(f"ravdess fold {fold}.csv", made_by="") for fold in FOLDS]
    return arrange(clips, pd.concat(folds), classes)


def ask_lstm(clips: pd.DataFrame, classes: list[str]) -> np.ndarray:
    """The recipe ``lstm``, as ``ser cv`` trains it."""
    run = Run(outputs_home() / "cv-ravdess-lstm")
    return arrange(clips, cross_validate(clips, "lstm", run=run), classes)


def arrange(clips: pd.DataFrame, answers: pd.DataFrame, classes: list[str]) -> np.ndarray:
    """Probabilities in the order of the clips."""
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


if __name__ == "__main__":
    main()
