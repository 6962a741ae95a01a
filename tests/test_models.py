"""What each builder promises, and the front end against the features that training sees."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from helpers.features.extract import compute_features
from helpers.features.families import FeatureSettings
from helpers.models.builders import (
    average,
    build_cnn,
    build_cnn_lstm,
    build_front_end,
    build_functionals_mlp,
    build_lstm,
    build_mfcc_lstm,
    build_vector_cnn,
    with_front_end,
)
from helpers.models.recipes import fit_head, make_linear_model
from helpers.models.training import prepare_keras
from helpers.sound.audio import SAMPLE_RATE, fit_clip, load_audio

SETTINGS = FeatureSettings()
SHAPE = (SETTINGS.n_frames, SETTINGS.n_mels)
FRAME_BUILDERS = [build_lstm, build_cnn, build_cnn_lstm]
CLIP_BUILDERS = [(build_mfcc_lstm, 40), (build_functionals_mlp, 254), (build_vector_cnn, 162)]


@pytest.fixture(scope="module", autouse=True)
def keras():
    prepare_keras(0)
    import keras

    return keras


@pytest.fixture(scope="module")
def front_end(keras):
    return build_front_end(SETTINGS)


def make_voice(seed: int, *, padded: float = 0.0) -> np.ndarray:
    """Three seconds of something like speech, a share of it digital zeros at both ends."""
    rng = np.random.default_rng(seed)
    time = np.arange(SETTINGS.n_samples) / SAMPLE_RATE
    pitch = rng.uniform(90, 250) * (1 + 0.2 * np.sin(5 * time))
    phase = 2 * np.pi * np.cumsum(pitch) / SAMPLE_RATE
    voice = sum(np.sin(k * phase) / k for k in range(1, 30))
    syllables = np.clip(np.sin(2 * np.pi * rng.uniform(2, 5) * time), 0, 1)
    y = 0.05 * voice * syllables + rng.normal(0, 2e-4, len(time))
    edge = round(len(y) * padded / 2)
    y[:edge] = y[len(y) - edge :] = 0
    return y.astype("float32")


def picture(front_end, *clips: np.ndarray) -> np.ndarray:
    return np.asarray(front_end(np.stack(clips).astype("float32")))


# --- the front end ---------------------------------------------------------------------------


@pytest.mark.parametrize("padded", [0.0, 0.5])
@pytest.mark.parametrize("seed", [0, 1])
def test_front_end_computes_the_log_mel_of_training(seed, padded, front_end):
    y = make_voice(seed, padded=padded)
    expected = compute_features(y, family="logmel")
    found = picture(front_end, y)[0]
    assert found.shape == expected.shape == SHAPE
    # Keras draws the triangles of the filters on the mel axis, librosa in Hz: up to 0.09 dB a band.
    assert np.abs(found - expected).max() < 0.1
    if padded:
        edge = SHAPE[0] // 5
        assert (found[:edge] == 0).all() and (expected[:edge] == 0).all()


def test_front_end_follows_its_settings():
    settings = FeatureSettings(n_fft=512, hop=160, n_mels=40, range_db=60.0)
    y = make_voice(3)
    expected = compute_features(y, family="logmel", settings=settings)
    found = picture(build_front_end(settings), y)[0]
    assert found.shape == expected.shape and found.max() == pytest.approx(60)
    assert np.abs(found - expected).max() < 0.2  # wider bands differ by more


def test_clips_of_a_batch_do_not_meet(front_end):
    quiet = make_voice(0, padded=0.3) / 100
    square = 4 * np.sign(np.sin(np.arange(SETTINGS.n_samples) / 9))
    alone = picture(front_end, quiet)[0]
    for neighbour in (square, np.zeros(SETTINGS.n_samples)):
        np.testing.assert_allclose(picture(front_end, quiet, neighbour)[0], alone, atol=1e-4)
        np.testing.assert_allclose(picture(front_end, neighbour, quiet)[1], alone, atol=1e-4)


@pytest.mark.parametrize("gain", [0.1, 10])
def test_front_end_does_not_hear_the_recording_level(gain, front_end):
    y = make_voice(1, padded=0.2)
    np.testing.assert_allclose(picture(front_end, gain * y), picture(front_end, y), atol=1e-3)


def test_front_end_stays_finite(front_end):
    click = np.eye(1, SETTINGS.n_samples, 20_000)[0]
    noise = np.random.default_rng(0).normal(0, 1e-6, SETTINGS.n_samples)
    for y in (np.zeros(SETTINGS.n_samples), click, noise):
        found = picture(front_end, y)
        assert np.isfinite(found).all() and found.min() >= 0 and found.max() <= 80


@pytest.mark.corpora
def test_front_end_on_real_speech(real_data, front_end):
    from helpers.corpora import load_corpora

    for path in load_corpora("ravdess")["path"].iloc[::200]:
        y = fit_clip(load_audio(path), SETTINGS.n_samples)
        difference = np.abs(picture(front_end, y)[0] - compute_features(y, family="logmel"))
        # The band at hand and the loudest band can each be off by 0.09 dB.
        assert difference.max() < 0.18 and difference.mean() < 0.05


# --- bodies ----------------------------------------------------------------------------------


def check_probabilities(model, x: np.ndarray, n_classes: int) -> None:
    found = np.asarray(model(x))
    assert found.shape == (len(x), n_classes)
    assert (found >= 0).all()
    np.testing.assert_allclose(found.sum(axis=1), 1, atol=1e-5)


@pytest.mark.parametrize("build", FRAME_BUILDERS)
def test_frame_bodies_take_any_number_of_frames(build, rng):
    n_bins = SETTINGS.n_mels
    model = build((SHAPE[0], n_bins), 8)
    assert model.input_shape == (None, None, n_bins)
    assert model.output_shape == (None, 8)
    assert model.name == build.__name__.removeprefix("build_")
    for n_frames in (SHAPE[0], 61, 32):
        check_probabilities(model, 80 * rng.random((2, n_frames, n_bins)), 8)


@pytest.mark.parametrize(("build", "n_columns"), CLIP_BUILDERS)
def test_clip_bodies_take_a_row_of_columns(build, n_columns, rng):
    model = build(n_columns, 7)
    assert model.input_shape == (None, n_columns)
    assert model.output_shape == (None, 7)
    assert model.name == build.__name__.removeprefix("build_")
    model.get_layer("scale")  # fitted to the training side by fit_model
    check_probabilities(model, rng.normal(size=(3, n_columns)).astype("float32"), 7)


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def layers_of(model, name: str) -> list:
    return [layer for layer in model.layers if type(layer).__name__ == name]


def units(model) -> list[int]:
    return [layer.units for layer in layers_of(model, "Dense")]


def order(model) -> list[str]:
    return [type(layer).__name__ for layer in model.layers]


def test_mfcc_lstm_is_the_averaged_mfcc_lstm_of_its_recipe():
    model = build_mfcc_lstm(40, 7)
    (lstm,), (norm,) = layers_of(model, "LSTM"), layers_of(model, "BatchNormalization")
    assert lstm.input.shape == (None, 40, 1)  # the 40 means as 40 steps
    assert norm.input is lstm.output
    assert units(model) == [256, 128, 64, 32, 7]
    assert layers_of(model, "Dropout")


def test_functionals_mlp_is_that_of_its_recipe():
    model = build_functionals_mlp(254, 8)
    assert units(model) == [512, 256, 128, 64, 8]
    hidden = layers_of(model, "Dense")[:-1]
    assert all(type(layer.kernel_regularizer).__name__ == "L2" for layer in hidden)
    assert [layer.rate for layer in layers_of(model, "Dropout")] == [0.3] * 4


def test_several_bodies_answer_with_their_mean(rng, tmp_path, keras):
    bodies = [build_cnn(SHAPE, 8, name=f"cnn_{seed}") for seed in range(3)]
    whole = with_front_end(average(bodies, name="cnn"), SETTINGS)
    frames = (80 * rng.random((2, 40, SHAPE[1]))).astype("float32")
    apart = np.mean([np.asarray(body(frames)) for body in bodies], axis=0)
    whole.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras", compile=False)
    np.testing.assert_allclose(np.asarray(loaded.layers[-1](frames)), apart, atol=1e-6)


def test_vector_cnn_is_the_conv1d_of_its_recipe():
    model = build_vector_cnn(162, 8)
    first, *others = layers_of(model, "Conv1D")
    assert first.input.shape == (None, 162, 1)
    assert (first.filters, first.kernel_size) == (256, (5,))
    assert all(layer.kernel_size == (5,) for layer in others)
    assert {layer.pool_size for layer in layers_of(model, "MaxPooling1D")} == {(5,)}
    assert {layer.rate for layer in layers_of(model, "Dropout")} == {0.2, 0.3}
    assert units(model) == [32, 8]


def test_cnn_lstm_is_convolution_then_lstm_then_dense():
    names = order(build_cnn_lstm(SHAPE, 8))
    last_conv = max(i for i, name in enumerate(names) if name.startswith("Conv"))
    recurrent = [i for i, name in enumerate(names) if name in ("LSTM", "GRU", "Bidirectional")]
    first_dense = names.index("Dense")
    assert last_conv < min(recurrent) <= max(recurrent) < first_dense


# --- the model that is saved -----------------------------------------------------------------


def all_layers(model) -> list:
    found = []
    for layer in model.layers:
        found += all_layers(layer) if hasattr(layer, "layers") else [layer]
    return found


@pytest.mark.parametrize("build", FRAME_BUILDERS)
def test_served_model_is_built_in_layers_on_a_waveform(build, keras, tmp_path: Path):
    body = build(SHAPE, 5)
    whole = with_front_end(body, SETTINGS)
    assert whole.input_shape == (None, None) and whole.name == body.name
    assert all(type(layer).__module__.startswith("keras.") for layer in all_layers(whole))

    y = np.stack([make_voice(0), make_voice(1, padded=0.4)])
    expected = np.asarray(whole(y))
    frames = np.stack([compute_features(clip, family="logmel") for clip in y])
    np.testing.assert_allclose(expected, np.asarray(body(frames)), atol=0.01)

    whole.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras", compile=False, safe_mode=True)
    np.testing.assert_allclose(np.asarray(loaded(y)), expected, atol=1e-6)
    check_probabilities(loaded, np.zeros((1, 16_000), "float32"), 5)


@pytest.mark.parametrize("classes", [["sad", "happy"], ["sad", "calm", "happy", "angry"]])
def test_a_new_head_says_what_logistic_regression_says(classes, rng):
    emotions = pd.Series(np.resize([name for name in classes if name != "calm"], 60))
    columns = rng.normal(3, 5, (60, 7)) + 4 * (emotions == "sad").to_numpy()[:, None]
    found = np.asarray(fit_head(columns, emotions, classes=classes)(columns.astype("float32")))
    linear = make_linear_model().fit(columns, emotions)
    expected = pd.DataFrame(linear.predict_proba(columns), columns=linear.classes_)
    expected = expected.reindex(columns=classes, fill_value=0)
    np.testing.assert_allclose(found, expected, atol=1e-5)
