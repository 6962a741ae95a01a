"""What the model that comes along is worth to people with clips of their own.

    python benchmarks/own_data.py

EmoDB and nEMO are each taken as somebody's own clips. The model to begin from has never met the
corpus: it is the part ``without <corpus>`` of ``pretrain.py``; where that has not run, the rows
that need it are left out. Everybody is tested by models that have not heard them: one speaker at a
time, or all others where few are there to learn from. ``benchmarks/own_data.csv`` is the table; a
row that it has is not made again.
ComParE-2016 is asked where openSMILE is installed (``benchmarks/requirements.txt``).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.metrics import balanced_accuracy_score
from sklearn.metrics.pairwise import rbf_kernel
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from helpers.columns import PROTOCOLS
from helpers.corpora import class_order, load_corpora
from helpers.evaluation.scores import score_predictions
from helpers.features.extract import extract_features
from helpers.models.prediction import Predictor
from helpers.models.recipes import FINE, RECIPES, begin_from_shipped, make_linear_model
from helpers.runs import Run, outputs_home
from helpers.sound.audio import SAMPLE_RATE, load_audio
from helpers.splits import SIDES, check_split

TABLE = Path(__file__).with_name("own_data.csv")
#: Corpora, and the emotions that are asked for.
CORPORA = {
    "emodb": ("angry", "happy", "neutral", "sad"),
    "nemo": ("angry", "fear", "happy", "neutral", "sad", "surprise"),
}
COSTS = (0.3, 1.0, 3.0, 10.0)  # of the recipe svm
FEW_SPEAKERS, FEW_CLIPS = 4, 20  # to learn from; clips of an emotion


def main() -> None:
    rows = pd.read_csv(TABLE).to_dict("records") if TABLE.is_file() else []
    for corpus, emotions in CORPORA.items():
        clips = load_corpora(corpus)
        clips = clips[clips["emotion"].isin(emotions)].reset_index(drop=True)
        run = Run(outputs_home() / "own_data")
        start = outputs_home() / "pretraining" / f"without {corpus}.keras"
        for setting, splits in choose_splits(clips).items():
            done = {row["system"] for row in rows if is_of(row, corpus, setting)}
            for system, answers in ask_all(clips, splits, start, run, setting, done):
                score = score_predictions(answers, class_order(emotions), protocol=PROTOCOLS[0])
                row = {"corpus": corpus, "learned from": setting, "system": system}
                row |= {"uar": score["uar"], "n": score["n"], "speakers": score["n_speakers"]}
                row |= dict(zip(("low", "high"), score["uar_interval"], strict=True))
                rows.append(row)
                pd.DataFrame(rows).to_csv(TABLE, index=False, float_format="%.3f")
                print(row, flush=True)


def is_of(row: dict, corpus: str, setting: str) -> bool:
    """Whether a row of the table is of this corpus and this setting."""
    return (row["corpus"], row["learned from"]) == (corpus, setting)


def choose_splits(clips: pd.DataFrame) -> dict[str, list[pd.Series]]:
    """Who is learned from and who is tested, by setting."""
    speakers = sorted(clips["speaker"].unique())
    loso = []
    for place, name in enumerate(speakers):
        split = pd.Series("train", index=clips.index)
        split[clips["speaker"] == name] = "test"
        split[clips["speaker"] == speakers[place - 1]] = "validation"
        loso.append(split)
    few = []
    for first in (speakers[:FEW_SPEAKERS], speakers[-FEW_SPEAKERS:]):
        split = pd.Series("test", index=clips.index)
        split[clips["speaker"].isin(first)] = "train"
        split[clips["speaker"] == first[0]] = "validation"
        few.append(split)
    fewest = []
    for split in few:
        learned = clips[split != "test"].sample(frac=1, random_state=0)
        rank = learned.groupby("emotion").cumcount()
        left_out = rank.index[rank >= FEW_CLIPS]
        fewest.append(split.mask(split.index.isin(left_out), "unused"))
    return {
        "all other speakers": loso,
        f"{FEW_SPEAKERS} speakers": few,
        f"{FEW_SPEAKERS} speakers, {FEW_CLIPS} clips per emotion": fewest,
    }


def ask_all(
    clips, splits, start: Path, run: Run, setting: str, done: set[str]
) -> Iterator[tuple[str, pd.DataFrame]]:
    """Answers on the test sides of each system that is not done, the slow ones last."""
    for split in splits:
        check_split(clips, split)
    classes = class_order(clips["emotion"])
    fine = extract_features(clips, family="logmel", settings=FINE, n_jobs=1)
    functionals = extract_features(clips, family="functionals", n_jobs=1)
    systems = {}
    if start.is_file():
        systems["never met"] = lambda split: ask_as_it_is(clips, split, start, fine)
        systems["pretrained, new last layer"] = lambda split: begin(
            clips, split, start, fine, classes
        )
    systems |= {
        "functionals, SVM": lambda split: RECIPES["svm"].fit_predict(
            functionals, clips, split, classes=classes, seed=0
        ),
        "functionals, linear": lambda split: ask_linear(clips, split, functionals),
    }
    compare = extract_compare(clips, run)
    if compare is not None:
        systems["ComParE-2016, SVM"] = lambda split: ask_svm(clips, split, compare)
    if "clips" in setting:  # few enough for a training from scratch to be quick
        frames = extract_features(clips, family="logmel", n_jobs=1)
        systems["cnn from scratch"] = lambda split: RECIPES["cnn"].fit_predict(
            frames, clips, split, classes=classes, seed=0
        )
    for name in [name for name in systems if name not in done]:
        ask, parts = systems[name], []
        for split in splits:
            tested = clips.loc[split == "test", ["emotion", "speaker"]].reset_index(drop=True)
            parts.append(tested.assign(predicted=np.asarray(ask(split)["predicted"])))
        yield name, pd.concat(parts, ignore_index=True)


def ask_as_it_is(clips, split, start: Path, fine) -> pd.DataFrame:
    """The emotions that the model has, of which only those of the corpus may be answered."""
    predictor = Predictor(start)
    frames = np.asarray(fine)[split == "test"].astype("float32")
    said = predictor.model.layers[-1].predict(frames, batch_size=64, verbose=0)
    known = [name for name in predictor.classes if name in set(clips["emotion"])]
    return pd.DataFrame(said, columns=predictor.classes)[known].idxmax(axis=1).to_frame("predicted")


def begin(clips, split, start: Path, fine, classes: list[str]) -> pd.DataFrame:
    """A new last layer on a model that has not met the corpus."""
    x, heard = np.asarray(fine), split.isin(["train", "validation"])
    model = begin_from_shipped(x[heard], clips[heard], classes=classes, path=start)
    said = model.predict(x[split == "test"].astype("float32"), batch_size=64, verbose=0)
    return pd.DataFrame(said, columns=classes).idxmax(axis=1).to_frame("predicted")


def ask_linear(clips, split, functionals) -> pd.DataFrame:
    """The same last layer on functionals."""
    heard, tested = split.isin(["train", "validation"]), split == "test"
    model = make_linear_model().fit(functionals[heard], clips.loc[heard, "emotion"])
    return pd.DataFrame({"predicted": model.predict(functionals[tested])})


def ask_svm(clips, split, columns) -> pd.DataFrame:
    """The recipe ``svm``; with 6373 columns, its kernel is computed once and not in every fit."""
    train, held, test = (np.asarray(split == side) for side in SIDES)
    x, y = columns.to_numpy("float64"), clips["emotion"].to_numpy()
    x = StandardScaler().fit(x[train]).transform(x)
    kernel = rbf_kernel(x, x[train], gamma=1 / (x.shape[1] * x[train].var()))
    best, best_uar = None, -1.0
    for cost in COSTS:
        model = SVC(C=cost, kernel="precomputed", class_weight="balanced", random_state=0)
        model.fit(kernel[train], y[train])
        uar = balanced_accuracy_score(y[held], model.predict(kernel[held]))
        if uar > best_uar:
            best, best_uar = model, uar
    return pd.DataFrame({"predicted": best.predict(kernel[test])})


def extract_compare(clips: pd.DataFrame, run: Run) -> pd.DataFrame | None:
    """The 6373 functionals of ComParE-2016, or None where openSMILE is not installed."""
    name = f"compare-{clips['corpus'].iloc[0]}.csv"
    if not run.path(name).is_file():
        try:
            import opensmile
        except ImportError:
            print("openSMILE is not installed: no ComParE-2016", flush=True)
            return None
        smile = opensmile.Smile(
            opensmile.FeatureSet.ComParE_2016, opensmile.FeatureLevel.Functionals
        )
        rows = [smile.process_signal(load_audio(path), SAMPLE_RATE) for path in clips["path"]]
        run.save_table(pd.concat(rows, ignore_index=True), name)
    return run.read_table(name, made_by="")


if __name__ == "__main__":
    main()
