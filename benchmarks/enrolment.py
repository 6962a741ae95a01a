"""What a few neutral seconds of a person are worth before the person is heard.

    python benchmarks/enrolment.py

RAVDESS, eight emotions, the six published folds, a support vector machine on functionals and
prosody. Enrolled, the columns of a person are taken relative to neutral clips of the same person,
and these clips are not tested: each choice of them is a pass of its own, and all passes are pooled.
Without enrolment the same machine gets the columns as they are. Beside it, a logistic regression on
these columns together with the three networks of ``folds.csv``, which are not enrolled, weighted as
in ``fusion.py``. Nothing else is chosen.
``benchmarks/enrolment.csv`` is the table: UAR with a 95 % interval over speakers, and what is
gained over the networks alone on the same clips.
"""

from __future__ import annotations

from itertools import combinations
from pathlib import Path

import pandas as pd
import pretrain
from fusion import ask_linear, fuse, name_emotions, read_columns, read_networks
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from helpers.columns import PROTOCOLS
from helpers.corpora import load_corpora
from helpers.evaluation.comparison import compare_predictions
from helpers.evaluation.scores import score_predictions
from helpers.sound.inspection import inspect_clips
from helpers.splits import make_split

TABLE = Path(__file__).with_name("enrolment.csv")
FOLDS = range(1, 7)
NEUTRAL_CLIPS = 4  # that RAVDESS has of a person
ENROLLED = (0, 1, 2, 3)
MACHINE, NETWORKS, TOGETHER = "support vector machine", "networks", "networks + functionals"


def main() -> None:
    clips, _ = inspect_clips(load_corpora("ravdess"))
    clips = clips.reset_index(drop=True)
    seconds = clips.loc[clips["emotion"] == "neutral", "duration_s"].mean()
    columns = read_columns(clips)
    rows = []
    for n_clips in ENROLLED:
        protocol = "enrolled" if n_clips else PROTOCOLS[0]
        row = {"protocol": protocol, "neutral clips": n_clips, "seconds": n_clips * seconds}
        systems = ask(clips, columns, n_clips)
        for system, answers in systems.items():
            score = score_predictions(answers, pretrain.CLASSES, protocol=PROTOCOLS[0])
            gain = compare_predictions(systems[NETWORKS], answers, pretrain.CLASSES)
            row |= {"system": system, "uar": score["uar"], "n": score["n"]}
            row |= dict(zip(("low", "high"), score["uar_interval"], strict=True))
            row |= {"gain": gain["difference"]}
            row |= dict(zip(("gain low", "gain high"), gain["interval"], strict=True))
            rows.append(dict(row))
            print(rows[-1], flush=True)
        pd.DataFrame(rows).to_csv(TABLE, index=False, float_format="%.3f")


def ask(clips: pd.DataFrame, columns: pd.DataFrame, n_clips: int) -> dict[str, pd.DataFrame]:
    """Answers on the test clips of all folds, for each choice of ``n_clips`` neutral clips."""
    neutral = clips[clips["emotion"] == "neutral"]
    place = neutral.groupby("speaker").cumcount()
    networks = read_networks(clips, pretrain.ANSWERS)
    parts: dict[str, list[pd.DataFrame]] = {MACHINE: [], NETWORKS: [], TOGETHER: []}
    for chosen in combinations(range(NEUTRAL_CLIPS), n_clips):
        known = place.index[place.isin(chosen)]
        x = relate(clips, columns, known) if n_clips else columns
        machine = make_pipeline(StandardScaler(), SVC(C=3.0, class_weight="balanced"))
        for fold in FOLDS:
            split = make_split(clips, fold=fold)
            learned = split.isin(["train", "validation"])
            machine.fit(x[learned], clips.loc[learned, "emotion"])
            tested = clips[(split == "test") & ~clips.index.isin(known)]
            parts[MACHINE].append(tested.assign(predicted=machine.predict(x.loc[tested.index])))
        fused = fuse(clips, [networks, ask_linear(clips, x, pretrain.CLASSES)])
        for system, values in ((NETWORKS, networks), (TOGETHER, fused)):
            answers = name_emotions(clips, values, pretrain.CLASSES)
            parts[system].append(answers[~answers.index.isin(known)])
    return {system: pd.concat(tables) for system, tables in parts.items()}


def relate(clips: pd.DataFrame, columns: pd.DataFrame, known: pd.Index) -> pd.DataFrame:
    """Columns less their mean over the ``known`` neutral clips of the same speaker."""
    means = columns.loc[known].groupby(clips.loc[known, "speaker"]).mean()
    return columns - means.loc[clips["speaker"]].to_numpy()


if __name__ == "__main__":
    main()
