"""Only the training side teaches, the best epoch stays, and one seed gives one result."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import balanced_accuracy_score

from helpers.features.families import FeatureSettings
from helpers.models.builders import build_cnn, with_front_end
from helpers.models.modelfile import read_card
from helpers.models.training import (
    TrainingSettings,
    fit_model,
    list_candidates,
    prepare_keras,
    save_candidate,
)
from helpers.runs import Run
from helpers.sound.augment import augment_frames

CLASSES = ["sad", "angry", "happy"]  # neither alphabetical nor in order of appearance


@pytest.fixture(scope="module", autouse=True)
def keras():
    prepare_keras(0)
    import keras

    return keras


def build_small(n_columns: int, n_classes: int, *, scale: bool = True):
    """The smallest body with all that fit_model looks for."""
    from keras import Input, Model, layers

    inputs = x = Input((n_columns,))
    if scale:
        x = layers.Normalization(name="scale")(x)
    return Model(inputs, layers.Dense(n_classes, activation="softmax")(x), name="small")


def named(emotions: pd.Series) -> pd.DataFrame:
    return emotions.to_frame("emotion")


def make_clips(n: int = 90, n_columns: int = 4, *, seed: int = 0):
    """Separable columns, labels and sides; sides and labels in no particular order."""
    rng = np.random.default_rng(seed)
    index = pd.Index(rng.permutation(1000)[:n])
    emotions = pd.Series(rng.permutation(np.resize(CLASSES, n)), index=index)
    split = pd.Series(
        rng.permutation(np.resize(["train", "train", "validation", "test"], n)), index=index
    )
    centre = emotions.map({"sad": 0, "angry": 1, "happy": 2}).to_numpy()
    x = rng.normal(0, 0.3, (n, n_columns)).astype("float32")
    x[np.arange(n), centre] += 4
    return x, emotions, split


def settings(**changes) -> TrainingSettings:
    return TrainingSettings(**({"epochs": 12, "batch_size": 16, "learning_rate": 0.1} | changes))


def predict(model, x) -> np.ndarray:
    return model.predict(np.asarray(x, "float32"), verbose=0)


# --- what is learned from what ---------------------------------------------------------------


def test_labels_become_indices_in_the_order_of_the_classes():
    x, emotions, split = make_clips()
    model = build_small(4, 3)
    table = pd.DataFrame(x, index=emotions.index)
    fit_model(model, table, named(emotions), split, classes=CLASSES, settings=settings())
    test = (split == "test").to_numpy()
    said = np.array(CLASSES)[predict(model, x[test]).argmax(axis=1)]
    assert (said == emotions[test]).mean() > 0.95


def test_test_side_is_never_looked_at():
    x, emotions, split = make_clips()
    test = (split == "test").to_numpy()
    found = []
    for poison in (0.0, np.nan):
        prepare_keras(1)
        model = build_small(4, 3)
        history = fit_model(
            model, np.where(test[:, None], poison, x), named(emotions), split,
            classes=CLASSES, settings=settings(epochs=3),
        )  # fmt: skip
        assert np.isfinite(history["val_loss"]).all()
        found.append(predict(model, x))
    np.testing.assert_array_equal(*found)


def test_scale_is_fitted_to_the_training_side_alone():
    x, emotions, split = make_clips()
    x[(split != "train").to_numpy()] += 1000
    model = build_small(4, 3)
    fit_model(model, x, named(emotions), split, classes=CLASSES, settings=settings(epochs=1))
    train = x[(split == "train").to_numpy()]
    scale = model.get_layer("scale")
    np.testing.assert_allclose(np.ravel(scale.mean), train.mean(axis=0), rtol=1e-4)
    np.testing.assert_allclose(np.ravel(scale.variance), train.var(axis=0), rtol=1e-3)


def test_augmentation_sees_each_training_clip_once_per_epoch_and_no_other():
    x, emotions, split = make_clips(n=50)
    x[:, 3] = np.arange(len(x))  # one number per clip
    seen: list[int] = []

    def spy(batch, rng):
        assert isinstance(rng, np.random.Generator) and batch.dtype == "float32"
        seen.extend(batch[:, 3].astype(int))
        return batch

    epochs, batch_size = 3, 3
    fit_model(
        build_small(4, 3), x, named(emotions), split,
        classes=CLASSES, settings=settings(epochs=epochs, batch_size=batch_size), augment=spy,
    )  # fmt: skip
    train = np.flatnonzero(split == "train")
    assert set(seen) == set(train)
    counts = np.bincount(seen, minlength=len(x))[train]
    # Keras draws two batches besides, to learn their shape.
    assert counts.min() == epochs and counts.sum() <= epochs * len(train) + 2 * batch_size


def test_an_epoch_takes_another_part_of_the_clips_each_time():
    x, emotions, split = make_clips(n=60)
    x[:, 3] = np.arange(len(x))
    train = np.flatnonzero(split == "train")
    share = pd.Series(0.5, index=split.index)
    share.iloc[train[:4]] = 0.0
    batches: list[list[int]] = []

    def spy(batch, rng):
        batches.append(sorted(batch[:, 3].astype(int)))
        return batch

    one = settings(epochs=6, batch_size=60)
    fit_model(
        build_small(4, 3), x, named(emotions), split, classes=CLASSES, settings=one, augment=spy,
        share=share,
    )  # fmt: skip
    assert {len(batch) for batch in batches} == {round((len(train) - 4) / 2)}
    assert len({tuple(batch) for batch in batches}) >= 6
    assert set(sum(batches, [])) == set(train[4:])


def test_augmented_batches_are_what_is_learned():
    x, emotions, split = make_clips()
    model = build_small(4, 3, scale=False)
    before = model.layers[-1].kernel.numpy()
    fit_model(
        model, x, named(emotions), split,
        classes=CLASSES, settings=settings(epochs=1), augment=lambda batch, rng: 0 * batch,
    )  # fmt: skip
    # From zeros no weight learns; weight decay may shrink all alike.
    ratio = model.layers[-1].kernel.numpy() / before
    np.testing.assert_allclose(ratio, ratio[0, 0], rtol=1e-4)


def test_rare_classes_weigh_as_much_as_frequent_ones():
    """Clips that tell nothing: without weights the model would say the frequencies, 9 to 1."""
    n = 200
    emotions = pd.Series(["sad"] * 90 + ["angry"] * 10 + ["sad", "angry"] * 50)
    split = pd.Series(["train"] * 100 + ["validation"] * 100)
    model = build_small(2, 2, scale=False)
    fit_model(
        model, np.ones((n, 2)), named(emotions), split, classes=["sad", "angry"],
        settings=settings(epochs=15, batch_size=50, learning_rate=0.2, patience=15),
    )  # fmt: skip
    assert predict(model, np.ones((1, 2)))[0] == pytest.approx([0.5, 0.5], abs=0.05)


# --- history, stopping, repetition -----------------------------------------------------------


def fit_noise(**chosen):
    """A fit to noise, which gets worse on the validation side after its first epochs."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(120, 30)).astype("float32")
    emotions = pd.Series(rng.choice(CLASSES, 120))
    split = pd.Series(["train"] * 60 + ["validation"] * 60)
    prepare_keras(0)
    model = build_small(30, 3)
    chosen = settings(epochs=60, patience=4, **chosen)
    history = fit_model(model, x, named(emotions), split, classes=CLASSES, settings=chosen)
    return model, history, x[60:], emotions[60:].map(CLASSES.index).to_numpy()


@pytest.fixture(scope="module")
def overfitted(keras):
    return fit_noise()


def test_training_stops_early_and_keeps_the_best_epoch(overfitted):
    model, history, x, y = overfitted
    kept = history[history["kept"]]
    assert len(kept) == 1 and len(history) < 60
    assert kept.index[0] < history.index[-1]
    found = predict(model, x)
    assert (found.argmax(axis=1) == y).mean() == pytest.approx(kept["val_accuracy"].item())
    loss = model.evaluate(x, np.eye(3)[y], verbose=0, return_dict=True)["loss"]
    assert loss == pytest.approx(kept["val_loss"].item(), rel=1e-4)


def test_early_epochs_are_neither_kept_nor_counted_while_waiting(overfitted):
    wait = len(overfitted[1]) + 3
    model, history, x, y = fit_noise(wait=wait)
    assert history["val_loss"].idxmin() < wait <= history.index[history["kept"]].item()
    assert history["val_loss"][wait:].idxmin() == history.index[history["kept"]].item()
    loss = model.evaluate(x, np.eye(3)[y], verbose=0, return_dict=True)["loss"]
    assert loss == pytest.approx(history.loc[history["kept"], "val_loss"].item(), rel=1e-4)


def test_history_is_one_row_per_epoch(overfitted):
    history = overfitted[1]
    expected = {"epoch", "loss", "accuracy", "val_loss", "val_accuracy", "learning_rate", "kept"}
    assert expected <= set(history)
    assert history["epoch"].tolist() == list(range(1, len(history) + 1))
    assert history.drop(columns="kept").notna().all().all()
    assert (history["learning_rate"] > 0).all()


def fit_seeded(seed: int):
    """Fit from scratch with one seed; return what came of it."""
    rng = np.random.default_rng(0)
    emotions = pd.Series(np.resize(CLASSES, 24))
    split = pd.Series(["train"] * 16 + ["validation"] * 8)
    prepare_keras(seed)
    x, model = 80 * rng.random((24, 32, 64)), build_cnn((32, 64), 3)
    history = fit_model(
        model, x, named(emotions), split, classes=CLASSES, augment=augment_frames,
        settings=settings(epochs=2, batch_size=8, learning_rate=1e-3, seed=seed),
    )  # fmt: skip
    return history, model.get_weights()


def test_one_seed_gives_one_result():
    """Weights, order, dropout, augmentation: all of it comes from the seed."""
    (first, first_weights), (again, again_weights) = fit_seeded(5), fit_seeded(5)
    pd.testing.assert_frame_equal(first, again, check_exact=True)
    for a, b in zip(first_weights, again_weights, strict=True):
        np.testing.assert_array_equal(a, b)
    assert fit_seeded(6)[0]["loss"].tolist() != first["loss"].tolist()


def test_progress_is_logged_and_nothing_is_printed(capsys, caplog):
    x, emotions, split = make_clips(40)
    model = build_small(4, 3)
    with caplog.at_level("INFO", logger="helpers.models.training"):
        fit_model(
            model,
            x,
            named(emotions),
            split,
            classes=CLASSES,
            settings=settings(epochs=9),
        )
    assert capsys.readouterr() == ("", "")
    assert caplog.messages[0].startswith("epoch   1  accuracy ") and len(caplog.messages) <= 10
    assert caplog.messages[-1].startswith("small: 24 parameters, 9 epochs in ")


# --- saving ----------------------------------------------------------------------------------


@pytest.fixture
def run(tmp_path: Path) -> Run:
    run = Run(tmp_path / "try")
    facts = {"synthetic": True, "fingerprint": "abc", "licences": {"demo": "MIT"}, "other": 1}
    run.save_json(facts, "data.json")
    return run


def make_table(emotions: pd.Series, split: pd.Series) -> pd.DataFrame:
    speakers = split.map({"train": "demo-a", "validation": "demo-b", "test": "demo-c"})
    return pd.DataFrame(
        {"corpus": "demo", "speaker": speakers, "emotion": emotions, "speaker-independent": split}
    )


def test_candidate_is_scored_on_the_validation_side_and_saved(run, keras):
    x, emotions, split = make_clips()
    model = build_small(4, 3)
    held = (split == "validation").to_numpy()
    x[~held] = np.nan  # no other side can have a part in the score
    said = np.array(CLASSES)[predict(model, x[held]).argmax(axis=1)]
    score = save_candidate(
        run, model, x, make_table(emotions, split), protocol="speaker-independent",
        family="mfcc40", classes=CLASSES, features=FeatureSettings(), settings=settings(),
    )  # fmt: skip
    assert (score["model"], score["protocol"]) == ("small", "speaker-independent")
    assert score["n"] == held.sum()
    assert score["accuracy"] == pytest.approx((said == emotions[held]).mean())
    assert score["uar"] == pytest.approx(balanced_accuracy_score(emotions[held], said))

    (path,) = run.folder.rglob("*.keras")
    card = read_card(path)
    assert card["classes"] == CLASSES and card["input"] == "mfcc40"
    assert card["synthetic"] is True and card["fingerprint"] == "abc"
    assert card["speakers"] == {"train": ["demo-a"], "validation": ["demo-b"], "test": ["demo-c"]}
    assert card["validation"]["uar"] == pytest.approx(score["uar"])
    loaded = keras.saving.load_model(path, compile=False, safe_mode=True)
    np.testing.assert_array_equal(predict(loaded, x[held]), predict(model, x[held]))


def test_frame_candidate_is_saved_with_its_front_end(run, keras, rng):
    features = FeatureSettings(clip_s=1.0)
    x = 80 * rng.random((20, features.n_frames, features.n_mels))
    emotions = pd.Series(np.resize(CLASSES, 20))
    split = pd.Series(np.resize(["train", "validation"], 20))
    model = build_cnn(x.shape[1:], 3)
    save_candidate(
        run, model, x, make_table(emotions, split), protocol="speaker-independent",
        family="logmel", classes=CLASSES, features=features, settings=settings(),
    )  # fmt: skip
    (path,) = run.folder.rglob("*.keras")
    card = read_card(path)
    assert (card["input"], card["sample_rate"], card["name"]) == ("waveform", 16_000, "cnn")
    assert FeatureSettings(**card["features"]) == features
    y = rng.normal(0, 0.1, (2, 16_000))
    loaded = keras.saving.load_model(path, compile=False, safe_mode=True)
    expected = predict(with_front_end(model, features), y)
    np.testing.assert_allclose(predict(loaded, y), expected, atol=1e-6)


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def test_models_of_a_protocol_that_the_clips_no_longer_have_are_left_out(run):
    for protocol, name in (("own-split", "cnn"), ("random-80-20", "b"), ("random-80-20", "a")):
        path = run.path(f"models/{protocol}/{name}.keras")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    found = list_candidates(run, ["speaker-independent", "random-80-20"])
    assert list(found) == [("random-80-20", "a"), ("random-80-20", "b")]
    assert found["random-80-20", "b"] == run.path("models/random-80-20/b.keras")


# ---------------------------------------------------------------------------- raters


def test_shares_of_raters_are_learned_as_shares():
    x = np.eye(2, dtype="float32").repeat(60, axis=0)
    votes = ['{"sad": 3, "angry": 1}'] * 60 + ['{"angry": 2}'] * 60
    clips = pd.DataFrame({"emotion": ["sad"] * 60 + ["angry"] * 60, "shares": votes})
    split = pd.Series((["train"] * 5 + ["validation"]) * 20)
    classes = ["sad", "angry"]
    model = build_small(2, 2)
    chosen = settings(epochs=60, label_smoothing=0.0)
    fit_model(model, x, clips, split, classes=classes, settings=chosen)
    said = model.predict(np.eye(2, dtype="float32"), verbose=0)
    np.testing.assert_allclose(said, [[0.75, 0.25], [0, 1]], atol=0.07)


def test_what_keras_does_without_can_be_imported_afterwards():
    code = """
import sys
from helpers.models.training import prepare_keras
prepare_keras(0)
print(sorted({"keras", "matplotlib", "sklearn", "scipy.stats"} & set(sys.modules)))
import sklearn.svm, matplotlib.pyplot
"""
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stdout.strip()) == (0, "['keras']"), ran.stderr
