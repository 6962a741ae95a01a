"""Train the model that comes with a clone, and say how good it is on people it never heard.

    python benchmarks/pretrain.py

Nine models are trained by one recipe: that for users, on all corpora here; one for each of the six
published RAVDESS folds, without its test speakers; one without nEMO and one without EmoDB, which
are then tested on a language they never met. A model is three networks that differ in their seed
and answers with the mean of their probabilities. Each network is a file under
``outputs/pretraining``: what was killed is carried on.
``outputs/pretrained`` gets ``model.keras`` and ``metrics.json``; ``benchmarks/folds.csv`` what each
network said of each test clip of the folds, so that other questions need no training:

    python benchmarks/pretrain.py --score
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, replace
from itertools import combinations, product
from pathlib import Path

import numpy as np
import pandas as pd
from fused import fuse_normalisation
from hardening import harden_frames

from helpers.columns import PROTOCOLS
from helpers.corpora import CORPORA, load_corpora
from helpers.corpora.table import EMOTIONS
from helpers.evaluation.calibration import (
    choose_threshold,
    fit_temperature,
    summarise_calibration,
)
from helpers.evaluation.groups import check_groups, check_scores, score_groups, summarise
from helpers.evaluation.robustness import measure_robustness, to_checks
from helpers.evaluation.scores import format_score, score_predictions
from helpers.features.extract import FeatureSettings, extract_features
from helpers.models.builders import average, build_cnn, with_front_end
from helpers.models.modelfile import (
    apply_temperature,
    make_card,
    read_card,
    save_model,
    update_card,
)
from helpers.models.prediction import Predictor, predict_side
from helpers.models.recipes import FINE
from helpers.models.training import TrainingSettings, fit_model, prepare_keras
from helpers.report.pages import describe_model, render
from helpers.runs import Run, atomic_write, fingerprint, outputs_home
from helpers.sound.inspection import inspect_clips
from helpers.splits import make_split

FEATURES = FINE
SHAPE = {"filters": 192, "heads": 4}  # screening.py: both help; 256 filters would be over 5 MB
SETTINGS = TrainingSettings(epochs=40, wait=40, patience=40)
SEEDS = (0, 1, 2)  # of the networks in a file
CLASSES = list(EMOTIONS[:8])  # boredom is in one corpus only
#: How often an epoch takes a clip. The large corpora have few speakers, and must not rule.
SHARE = {"ravdess": 1.0, "emodb": 0.5, "nemo": 0.08, "tess": 0.03}
#: Men are heard worse than women, and the corpora have fewer of them: they are taken more often.
BY_GENDER = {"male": 1.25, "female": 0.75}
#: Nobody learns from these people: they are for temperature and threshold, together with what the
#: networks of the other folds said of their test speakers. So all of RAVDESS can be learned from.
HELD_OUT = ("nemo-EB0", "nemo-WR0", "emodb-03", "emodb-08")
HELD_CLIPS = 240
TARGET = 0.8  # share of right answers among those that are sure
FOLDS = tuple(f"ravdess fold {fold}" for fold in range(1, 7))
ZERO_SHOT = ("without nemo", "without emodb")
USERS = "for users"
HOME = Run(outputs_home() / "pretrained")
ANSWERS = Path(__file__).with_name("folds.csv")
NOTE = (
    "The scores are of the recipe: eight-emotion RAVDESS under its six published folds, each by a "
    "model that learned from all else but its test actors; nEMO and EmoDB each by a model that "
    "never met them, asked only for the emotions that they have. The file heard all but the "
    "held-out speakers named in its card, so on clips of these corpora it looks better. "
    "It is the mean of three networks, and the intervals of its UAR and accuracy draw these along "
    "with the speakers; metrics.json also has what one of them alone scores."
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--parts",
        default=",".join([*FOLDS, USERS, *ZERO_SHOT]),
        help="a fold and the model for users need the networks of all folds, to be scored",
    )
    parser.add_argument("--only-train", action="store_true", help="look at no test side yet")
    parser.add_argument("--score", action="store_true", help=f"of {ANSWERS.name}; train nothing")
    chosen = parser.parse_args()
    if chosen.score:
        print_mixtures(pd.read_csv(ANSWERS))
        return
    parts = chosen.parts.split(",")
    run = Run(outputs_home() / "pretraining")
    clips = read_clips(run)
    for seed, part in product(SEEDS, parts):
        body = name_body(run, part, seed)
        if not body.is_file():
            begin = time.perf_counter()
            trained = train(clips, choose_sides(clips, part), FEATURES, seed=seed, shape=SHAPE)
            with atomic_write(body) as temporary:
                trained.save(temporary)
            minutes = (time.perf_counter() - begin) / 60
            print(f"{part}, seed {seed}: {minutes:.1f} minutes", flush=True)
    if chosen.only_train:
        return
    folds = () if set(parts) <= set(ZERO_SHOT) else FOLDS
    for part in folds:
        if not run.path(name_answers(part)).is_file():
            ask(run, clips, part)
    for part in parts:
        if not run.path(f"{part}.keras").is_file():
            calibrate(run, clips, part)
        if part != USERS and not run.path(f"{part}.csv").is_file():
            test(run, clips, part)
    for part in [part for part in parts if part in FOLDS]:
        if not run.path(f"{part} robustness.csv").is_file():
            disturb(run, clips, part)
    if folds:
        report(run)
    else:
        publish_zero_shot(run)
    if USERS in parts:
        publish(run, clips)


def read_clips(run: Run) -> pd.DataFrame:
    """The clips of all corpora that have an emotion of the model; they are inspected once."""
    if not run.path("clips.csv").is_file():
        clips, _ = inspect_clips(load_corpora(list(SHARE)))
        run.save_table(clips[clips["emotion"].isin(CLASSES)], "clips.csv")
    return read(run, "clips.csv")


def choose_sides(clips: pd.DataFrame, part: str) -> pd.Series:
    """Training, validation (temperature and threshold only) and test side of a part."""
    split = pd.Series("train", index=clips.index)
    split[clips["speaker"].isin(HELD_OUT)] = "validation"
    if part in FOLDS:
        sides = make_split(clips[clips["corpus"] == "ravdess"], fold=int(part[-1]))
        split[sides.index[sides == "test"]] = "test"
    elif part in ZERO_SHOT:
        split[clips["corpus"] == part.removeprefix("without ")] = "test"
    return split


def count_draws(clips: pd.DataFrame) -> pd.Series:
    """How often an epoch takes each clip: all emotions of a corpus alike, men more than women.

    Weights over all corpora would make the network say what only one of them has.
    """
    own = clips.groupby("corpus")["emotion"]
    mean = own.transform("size") / own.transform("nunique")
    return (
        clips["corpus"].map(SHARE)
        * clips["gender"].map(BY_GENDER)
        * mean
        / clips.groupby(["corpus", "emotion"])["path"].transform("size")
    )


def train(
    clips: pd.DataFrame,
    split: pd.Series,
    features: FeatureSettings,
    *,
    seed: int,
    shape: dict,
    augment: Callable = harden_frames,
):
    """Train one network on the training side of all corpora; its last epoch is kept.

    It is named after its seed: several are to stand in one file. ``shape`` is what differs from the
    plain network, arguments of :func:`build_cnn`.
    """
    x = extract_features(clips, family="logmel", settings=features, n_jobs=1)
    watched = pick_held_out(clips, split).index  # enough to see that it learns
    split = split.where((split != "validation") | split.index.isin(watched), "unused")
    prepare_keras(seed)
    body = build_cnn(x.shape[1:], len(CLASSES), name=f"cnn_{seed}", **shape)
    with fuse_normalisation(body):
        fit_model(
            body,
            x,
            clips,
            split,
            classes=CLASSES,
            settings=replace(SETTINGS, seed=seed),
            augment=augment,
            share=count_draws(clips),
        )
    return body


def name_body(run: Run, part: str, seed: int) -> Path:
    """Where one network of a part is kept."""
    return run.path(f"{part} seed {seed}.keras")


def load_bodies(run: Run, part: str) -> dict:
    """The networks of a part by their seed."""
    import keras

    return {
        seed: keras.saving.load_model(name_body(run, part, seed), compile=False) for seed in SEEDS
    }


def ask(run: Run, clips: pd.DataFrame, part: str) -> None:
    """What each network of a part says of each clip of its test side."""
    tested = clips[choose_sides(clips, part) == "test"]
    answers = tested[["path", "speaker", "gender", "emotion"]].reset_index(drop=True)
    for seed, body in load_bodies(run, part).items():
        answers[name_columns(seed)] = predict(body, tested).round(4)
    run.save_table(answers, name_answers(part))


def predict(body, clips: pd.DataFrame) -> np.ndarray:
    """Probabilities of the emotions, one row per clip."""
    x = extract_features(clips, family="logmel", settings=FEATURES, n_jobs=1)
    return body.predict(x.astype("float32"), batch_size=256, verbose=0)


def name_answers(part: str) -> str:
    """Name of the table with what each network of a part said."""
    return f"{part} networks.csv"


def calibrate(run: Run, clips: pd.DataFrame, part: str) -> None:
    """Average the networks, put the front end before them, fit temperature and threshold.

    On held-out people, and on what the networks of the other folds said of their test speakers.
    """
    prepare_keras(0)  # layers are numbered on from those before, and the numbers are in the file
    split = choose_sides(clips, part)
    held, heard = pick_held_out(clips, split), clips[split == "train"]
    body = average(list(load_bodies(run, part).values()), name="cnn")
    others = read_others(run, part)
    raw = np.concatenate([predict(body, held), average_answers(others, SEEDS)])
    emotions = pd.concat([held["emotion"], others["emotion"]])
    targets = emotions.map(CLASSES.index).to_numpy()
    temperature = fit_temperature(raw, targets)
    calibrated = apply_temperature(raw, temperature)
    confidence, right = calibrated.max(axis=1), calibrated.argmax(axis=1) == targets
    threshold = choose_threshold(confidence, right, target=TARGET, lowest=0.5)
    corpora = sorted(heard["corpus"].unique())
    card = make_card(
        name=body.name,
        classes=CLASSES,
        settings=FEATURES,
        temperature=temperature,
        threshold=threshold,
        target_accuracy=TARGET,
        corpora=corpora,
        licences={name: CORPORA[name].licence for name in corpora},
        speakers={side: sorted(set(rows["speaker"])) for side, rows in clips.groupby(split)},
        clips=split.value_counts().to_dict(),
        training=asdict(SETTINGS) | SHAPE | {"share": SHARE, "augment": "harden_frames"},
        validation=summarise_calibration(calibrated, targets, threshold=threshold),
        parameters=body.count_params(),
        synthetic=False,
        fingerprint=fingerprint(heard),
        protocol=PROTOCOLS[0],
    )
    save_model(with_front_end(body, FEATURES), run.path(f"{part}.keras"), card)


def read_others(run: Run, part: str) -> pd.DataFrame:
    """What the networks of the other folds said, as trained here or, if they were not, before."""
    names = [name_answers(fold) for fold in FOLDS if fold != part]
    if not all(run.path(name).is_file() for name in names):
        return pd.read_csv(ANSWERS)
    return pd.concat([read(run, name) for name in names])


def pick_held_out(clips: pd.DataFrame, split: pd.Series) -> pd.DataFrame:
    """Validation clips, at most :data:`HELD_CLIPS` of a corpus: nEMO has far more than the rest."""
    mixed = clips[split == "validation"].sample(frac=1, random_state=0)
    return mixed.groupby("corpus").head(HELD_CLIPS).sort_index()


def test(run: Run, clips: pd.DataFrame, part: str) -> None:
    """Predictions for the test side of a part."""
    split = choose_sides(clips, part)
    predictor = Predictor(run.path(f"{part}.keras"))
    answers = predict_side(predictor, clips.assign(side=split), "side", "test")
    if part in ZERO_SHOT:  # asked only for what the other corpus has
        answers["predicted"] = answers[list_shared(answers)].idxmax(axis=1)
    run.save_table(answers, f"{part}.csv")
    right = (answers["predicted"] == answers["emotion"]).mean()
    print(f"{part}: accuracy {right:.3f} on {len(answers)} clips", flush=True)


def name_columns(seed: int) -> list[str]:
    """Columns with what one network says."""
    return [f"{seed}: {name}" for name in CLASSES]


def list_shared(answers: pd.DataFrame) -> list[str]:
    """Emotions of the model that a corpus has."""
    return [name for name in CLASSES if name in set(answers["emotion"])]


def disturb(run: Run, clips: pd.DataFrame, part: str) -> None:
    """What disturbances cost on the test side of a fold."""
    split = choose_sides(clips, part)
    speech = clips[clips["corpus"] == "ravdess"]
    table = measure_robustness(
        Predictor(run.path(f"{part}.keras")),
        speech[split[speech.index] == "test"],
        voices=speech[split[speech.index] == "train"],
    )
    run.save_table(table, f"{part} robustness.csv")
    print(table[["condition", "uar", "drop", "same", "passed"]].round(3).to_string(), flush=True)


def report(run: Run) -> None:
    """Print what the recipe scores on the folds that are done."""
    answers, by_group, gaps, shaken = score_folds(run)
    print(format_score(score_predictions(answers, CLASSES, protocol=PROTOCOLS[0])))
    print_mixtures(answers)
    print(by_group[by_group["grouping"] == "gender"].round(3).to_string(index=False))
    print(gaps.round(3).to_string(index=False))
    print(shaken[["condition", "uar", "drop", "same", "passed"]].round(3).to_string(index=False))


def score_folds(run: Run) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Answers on the test speakers of all folds that are done, and what they are worth."""
    folds = [part for part in FOLDS if run.path(f"{part} robustness.csv").is_file()]
    answers = pd.concat(
        [
            read(run, f"{part}.csv")
            .merge(read(run, name_answers(part)), validate="one_to_one")
            .assign(fold=int(part[-1]))
            for part in folds
        ],
        ignore_index=True,
    )
    known = {"gender": answers["gender"], "speaker": answers["speaker"]}
    shaken = pool_robustness([read(run, f"{part} robustness.csv") for part in folds])
    return answers, *score_groups(answers, known, CLASSES), shaken


def print_mixtures(answers: pd.DataFrame) -> None:
    """How well one, two and more of the networks do together."""
    for size in range(1, len(SEEDS) + 1):
        uar = score_networks(answers, size)["uar"]
        low, high = uar["interval"]
        print(f"networks averaged: {size}; UAR {uar['mean']:.3f} [{low:.3f}, {high:.3f}]", end="")
        print(f", ± {uar['sd']:.3f} between choices" if uar["sd"] is not None else "")


def score_networks(answers: pd.DataFrame, size: int) -> dict:
    """Score of so many networks together, as :func:`summarise` has it.

    The mean is over every choice of different ones. The interval draws the networks, one of them
    perhaps twice, along with the speakers: another training of the recipe is to lie within.
    """
    found = summarise(
        mix(answers, combinations(SEEDS, size)), protocol=PROTOCOLS[0], classes=CLASSES
    )
    drawn = summarise(
        mix(answers, product(SEEDS, repeat=size)), protocol=PROTOCOLS[0], classes=CLASSES
    )
    for name in ("uar", "accuracy"):
        found[name]["interval"] = drawn[name]["interval"]
    return found


def mix(answers: pd.DataFrame, choices: Iterable[tuple[int, ...]]) -> pd.DataFrame:
    """What each choice of networks says together: all clips once per choice, numbered as a seed."""
    parts = []
    for number, seeds in enumerate(choices):
        names = np.asarray(CLASSES, dtype=object)[average_answers(answers, seeds).argmax(axis=1)]
        parts.append(answers.assign(predicted=names, seed=number))
    return pd.concat(parts, ignore_index=True)


def average_answers(answers: pd.DataFrame, seeds: tuple[int, ...]) -> np.ndarray:
    """Mean of the probabilities that these networks gave."""
    return np.mean([answers[name_columns(seed)].to_numpy() for seed in seeds], axis=0)


def publish(run: Run, clips: pd.DataFrame) -> None:
    """Put the model for users beside the scores of its recipe, as notebook 06 writes them."""
    path = run.path(f"{USERS}.keras")
    card = read_card(path)
    answers, by_group, gaps, shaken = score_folds(run)
    names = ["fold", "path", "speaker", "gender", "emotion"]
    names += [name for seed in SEEDS for name in name_columns(seed)]
    files = answers.assign(path=answers["path"].map(lambda path: Path(path).name))
    files[names].to_csv(ANSWERS, index=False)
    checks = [check_scores(answers, CLASSES), check_groups(gaps), to_checks(shaken)]
    targets = answers["emotion"].map(CLASSES.index).to_numpy()
    together, one_network = score_networks(answers, len(SEEDS)), score_networks(answers, 1)
    whole = score_predictions(answers, CLASSES, protocol=PROTOCOLS[0])
    for name in ("uar", "accuracy"):
        whole[f"{name}_interval"] = together[name]["interval"]
    metrics = {
        "selected": card["name"],
        "note": NOTE,
        "data": {"corpora": card["corpora"], "clips": len(clips), "synthetic": False},
        "protocols": {PROTOCOLS[0]: {"model.keras": whole}},
        "one network": {name: one_network[name] for name in ("seeds", "uar", "accuracy")},
        "calibration": summarise_calibration(
            answers[CLASSES].to_numpy(), targets, threshold=card["threshold"]
        ),
        "groups": by_group.to_dict("records"),
        "gaps": gaps.to_dict("records"),
        "robustness": shaken.to_dict("records"),
        "cross_corpus": score_zero_shot(run),
        "checks": pd.concat(checks).to_dict("records"),
    }
    write(metrics, path)


def publish_zero_shot(run: Run) -> None:
    """Put the scores on corpora that were left out beside the model that is there."""
    metrics = HOME.read_json("metrics.json", made_by="")
    scores = {"note": NOTE, "cross_corpus": score_zero_shot(run)}
    write(metrics | scores, HOME.path("model.keras"))


def score_zero_shot(run: Run) -> list[dict]:
    """Scores on corpora that were left out; what was not trained here keeps the score it has."""
    known = HOME.read_json("metrics.json", made_by="")["cross_corpus"]
    rows = {row["test"]: row for row in known}
    for part in [part for part in ZERO_SHOT if run.path(f"{part}.csv").is_file()]:
        answers, name = read(run, f"{part}.csv"), part.removeprefix("without ")
        score = score_predictions(answers, list_shared(answers), protocol="cross-corpus")
        rows[name] = {"train": "all others", "test": name, "model": "cnn", **score}
    return list(rows.values())


def write(metrics: dict, model: Path) -> None:
    """Put ``metrics.json``, the model card and the model into ``outputs/pretrained``."""
    HOME.save_json(metrics, "metrics.json")
    description = describe_model(read_card(model), metrics)
    description["warnings"].append(NOTE)
    HOME.save_text(render("card.html", **description), "model_card.html")
    update_card(model, HOME.path("model.keras"), note=NOTE, description=description)
    print(f"{HOME.folder}: model.keras, metrics.json, model_card.html")


def read(run: Run, name: str) -> pd.DataFrame:
    """A table that an earlier part wrote."""
    return run.read_table(name, made_by="")


def pool_robustness(tables: list[pd.DataFrame]) -> pd.DataFrame:
    """One table of the folds' tables: means, which weigh each fold alike, and all their clips."""
    rows = pd.concat(tables)
    means = ["level", "uar", "drop", "allowed_drop", "same", "needed_same"]
    how = {"group": "first", **dict.fromkeys(means, "mean"), "n": "sum"}
    table = rows.groupby("condition", sort=False).agg(how).reset_index()
    met = to_checks(table.assign(passed=None)).groupby("test")["passed"].all()
    return table.assign(passed=table["condition"].map(met), note="")


if __name__ == "__main__":
    main()
