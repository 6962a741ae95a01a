"""The script that trains the model for users: who is heard where, and how often."""

from __future__ import annotations

import json
import sys

import numpy as np
import pandas as pd
import pytest
from conftest import ROOT

from helpers.corpora import load_corpora
from helpers.splits import check_split

sys.path.insert(0, str(ROOT / "benchmarks"))
import pretrain
from fused import fuse_normalisation


@pytest.fixture
def clips(real_data) -> pd.DataFrame:
    missing = [name for name in pretrain.SHARE if not (real_data / name).is_dir()]
    if missing:
        pytest.skip(f"no {', '.join(missing)} in {real_data}")
    return load_corpora(list(pretrain.SHARE))


@pytest.mark.corpora
def test_nobody_who_is_tested_is_heard_in_training(clips):
    for part in (*pretrain.FOLDS, *pretrain.ZERO_SHOT):
        split = pretrain.choose_sides(clips, part)
        check_split(clips, split)
        tested = clips[split == "test"]
        assert tested["corpus"].nunique() == 1
        assert len(tested) == {"without nemo": 4481, "without emodb": 339}.get(part, 240)
    folds = [pretrain.choose_sides(clips, part) == "test" for part in pretrain.FOLDS]
    assert (sum(folds) == (clips["corpus"] == "ravdess")).all()


@pytest.mark.corpora
def test_the_model_for_users_holds_speakers_back_and_tests_nobody(clips):
    split = pretrain.choose_sides(clips, pretrain.USERS)
    assert set(split) == {"train", "validation"}
    held = clips[split == "validation"]
    assert sorted(set(held["speaker"])) == sorted(pretrain.HELD_OUT)
    assert not set(held["speaker"]) & set(clips.loc[split == "train", "speaker"])


def test_emotions_of_a_corpus_are_drawn_alike_and_men_more_often():
    emotions = ["sad"] * 6 + ["happy"] * 2 + ["sad"] * 10 + ["fear"] * 30
    clips = pd.DataFrame({"corpus": ["ravdess"] * 8 + ["nemo"] * 40, "emotion": emotions})
    clips = clips.assign(path="", gender=["female", "male"] * 24)
    draws = pretrain.count_draws(clips)
    men = draws.groupby(clips["gender"]).sum()
    assert men["male"] / men["female"] == pytest.approx(1.25 / 0.75)
    sums = draws.groupby([clips["corpus"], clips["emotion"]]).sum()
    assert sums["ravdess"].to_dict() == pytest.approx({"sad": 4, "happy": 4})
    nemo = 40 * pretrain.SHARE["nemo"] / 2
    assert sums["nemo"].to_dict() == pytest.approx({"sad": nemo, "fear": nemo})


def test_fused_normalisation_learns_the_same_and_leaves_plain_layers():
    import keras

    from helpers.models.builders import build_cnn
    from helpers.models.training import TrainingSettings, compile_model, prepare_keras

    rng = np.random.default_rng(0)
    x = rng.uniform(0, 80, (16, 30, 32)).astype("float32")
    y = np.eye(4, dtype="float32")[rng.integers(4, size=16)]
    answers = []
    for fused in (False, True):
        prepare_keras(0)
        model = build_cnn(x.shape[1:], 4)
        compile_model(model, TrainingSettings())
        if fused:
            with fuse_normalisation(model):
                model.fit(x, y, batch_size=16, epochs=3, verbose=0)
        else:
            model.fit(x, y, batch_size=16, epochs=3, verbose=0)
        answers.append(model.predict(x, verbose=0))
    assert answers[1] == pytest.approx(answers[0], abs=1e-3)
    kinds = {type(layer) for layer in model.layers if layer.name.startswith("batch_norm")}
    assert kinds == {keras.layers.BatchNormalization}


def test_the_answers_that_are_kept_give_the_published_scores():
    answers = pd.read_csv(pretrain.ANSWERS)
    assert answers.groupby("fold").size().to_dict() == dict.fromkeys(range(1, 7), 240)
    metrics = json.loads((ROOT / "outputs/pretrained/metrics.json").read_text(encoding="utf-8"))
    whole = metrics["protocols"]["speaker-independent"]["model.keras"]
    together = pretrain.score_networks(answers, len(pretrain.SEEDS))["uar"]
    assert together["mean"] == pytest.approx(whole["uar"], abs=0.002)  # kept with four digits
    assert together["interval"] == pytest.approx(whole["uar_interval"], abs=0.005)
    alone = pretrain.score_networks(answers, 1)["uar"]
    assert alone["mean"] == pytest.approx(metrics["one network"]["uar"]["mean"], abs=0.002)


def test_the_readme_has_the_figures_of_the_model_that_comes_along():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    metrics = json.loads((ROOT / "outputs/pretrained/metrics.json").read_text(encoding="utf-8"))
    found = metrics["protocols"]["speaker-independent"]["model.keras"]
    low, high = found["uar_interval"]
    assert f"UAR {found['uar']:.3f} [{low:.3f}, {high:.3f}]" in text
    assert f"it names {100 * found['accuracy']:.0f} right" in text
    drops = {row["condition"]: f"{row['drop']:.3f}" for row in metrics["robustness"]}
    for condition in ("white noise 20 dB", "babble 20 dB", "music 20 dB", "telephone"):
        assert drops[condition] in text
    assert {row["test"] for row in metrics["cross_corpus"]} == {"nemo", "emodb"}
    for row in metrics["cross_corpus"]:
        low, high = row["uar_interval"]
        assert f"{row['uar']:.3f} [{low:.3f}, {high:.3f}]" in text
