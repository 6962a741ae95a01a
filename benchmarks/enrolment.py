"""What a few neutral seconds of a person are worth before the person is heard.

    python benchmarks/enrolment.py

RAVDESS, eight emotions, the six published folds, a support vector machine on functionals and
prosody. Enrolled, the columns of a person are taken relative to neutral clips of the same person,
and these clips are not tested: each choice of them is a pass of its own, and all passes are pooled.
Without enrolment the same machine gets the columns as they are. Nothing is chosen.
``benchmarks/enrolment.csv`` is the table: UAR with a 95 % interval over speakers.
"""

from __future__ import annotations

from itertools import combinations
from pathlib import Path

import pandas as pd
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from helpers.columns import PROTOCOLS
from helpers.corpora import class_order, load_corpora
from helpers.evaluation.scores import score_predictions
from helpers.features.extract import extract_features
from helpers.sound.inspection import inspect_clips
from helpers.splits import make_split

TABLE = Path(__file__).with_name("enrolment.csv")
FOLDS = range(1, 7)
NEUTRAL_CLIPS = 4  # that RAVDESS has of a person
ENROLLED = (0, 1, 2, 3)


def main() -> None:
    clips, _ = inspect_clips(load_corpora("ravdess"))
    clips = clips.reset_index(drop=True)
    seconds = clips.loc[clips["emotion"] == "neutral", "duration_s"].mean()
    tables = extract_features(clips, family=["functionals", "prosody"])
    columns = pd.concat(tables.values(), axis=1)
    columns = columns.fillna(columns.median())
    rows = []
    for n_clips in ENROLLED:
        answers = ask(clips, columns, n_clips)
        protocol = f"{PROTOCOLS[0]}, enrolled" if n_clips else PROTOCOLS[0]
        score = score_predictions(answers, class_order(clips["emotion"]), protocol=PROTOCOLS[0])
        low, high = score["uar_interval"]
        row = {"protocol": protocol, "neutral clips": n_clips, "seconds": n_clips * seconds}
        rows.append(row | {"uar": score["uar"], "low": low, "high": high, "n": score["n"]})
        pd.DataFrame(rows).to_csv(TABLE, index=False, float_format="%.3f")
        print(rows[-1], flush=True)


def ask(clips: pd.DataFrame, columns: pd.DataFrame, n_clips: int) -> pd.DataFrame:
    """Answers on the test clips of all folds, for each choice of ``n_clips`` neutral clips."""
    neutral = clips[clips["emotion"] == "neutral"]
    place = neutral.groupby("speaker").cumcount()
    parts = []
    for chosen in combinations(range(NEUTRAL_CLIPS), n_clips):
        known = place.index[place.isin(chosen)]
        x = relate(clips, columns, known) if n_clips else columns
        for fold in FOLDS:
            split = make_split(clips, fold=fold)
            learned = split.isin(["train", "validation"])
            machine = make_pipeline(StandardScaler(), SVC(C=3.0, class_weight="balanced"))
            machine.fit(x[learned], clips.loc[learned, "emotion"])
            tested = clips[(split == "test") & ~clips.index.isin(known)]
            parts.append(tested.assign(predicted=machine.predict(x.loc[tested.index])))
    return pd.concat(parts, ignore_index=True)


def relate(clips: pd.DataFrame, columns: pd.DataFrame, known: pd.Index) -> pd.DataFrame:
    """Columns less their mean over the ``known`` neutral clips of the same speaker."""
    means = columns.loc[known].groupby(clips.loc[known, "speaker"]).mean()
    return columns - means.loc[clips["speaker"]].to_numpy()


if __name__ == "__main__":
    main()
