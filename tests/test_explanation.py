"""What the model listens to: credits add up, lie where it looks, and need its weights."""

from __future__ import annotations

import librosa
import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.colors import to_rgb
from tiny import CLASSES, SETTINGS, build_tiny_body, tone

from helpers.errors import UserError
from helpers.evaluation.explanation import (
    Explanation,
    explain_clip,
    integrate_gradients,
)
from helpers.features.extract import compute_features
from helpers.models.builders import build_cnn, build_lstm, with_front_end
from helpers.models.modelfile import apply_temperature, make_card, save_model
from helpers.models.prediction import Predictor
from helpers.models.training import prepare_keras
from helpers.report.figures import plot_explanation
from helpers.sound.audio import fit_clip

BAND = 5  # the only one that the one-eared body listens to
TEMPERATURE = 1.3


def sharpen(body, factor: float):
    """A body that is surer than its first weights make it: there is something to explain."""
    *rest, kernel, bias = body.get_weights()
    body.set_weights([*rest, factor * kernel, bias])
    return body


def build_one_eared_body():
    """Takes its three probabilities from the mean level of one band."""
    body = build_tiny_body()
    kernel = np.zeros((SETTINGS.n_mels, 3), "float32")
    kernel[BAND] = (2.0, -1.0, 0.0)
    body.set_weights([kernel, np.zeros(3, "float32")])
    return body


def build_body(kind: str):
    prepare_keras(0)
    shape = (SETTINGS.n_frames, SETTINGS.n_mels)
    if kind == "one-eared":
        return build_one_eared_body()
    return sharpen({"cnn": build_cnn, "lstm": build_lstm}[kind](shape, 3), 10.0)


@pytest.fixture(scope="module")
def predictors(tmp_path_factory) -> dict[str, Predictor]:
    found = {}
    for kind in ("one-eared", "cnn", "lstm"):
        card = make_card(name=kind, classes=CLASSES, settings=SETTINGS, temperature=TEMPERATURE)
        path = tmp_path_factory.mktemp("model") / f"{kind}.keras"
        save_model(with_front_end(build_body(kind), SETTINGS), path, card)
        found[kind] = Predictor(path)
    return found


def sounds() -> list[np.ndarray]:
    """Tones that rise out of silence, of several heights and lengths."""
    return [tone(hz, duration_s=s) for hz, s in ((200, 0.7), (700, 1.0), (2500, 0.5), (5000, 0.9))]


# ---------------------------------------------------------------------------- golden values


def test_credits_of_two_classes_by_hand():
    # log p = log sigmoid(a z) on the way a from silence, so bin i of logit weight w_i has
    # w_i x_i / z of the whole gain, log sigmoid(z) - log(1/2). The temperature divides z.
    from keras import Input, Model, initializers, layers

    inputs = Input((None, 2))
    start = initializers.Constant([[0.0, 3.0], [0.0, -1.0]])
    x = layers.GlobalAveragePooling1D()(layers.Rescaling(1 / 40)(inputs))
    body = Model(inputs, layers.Dense(2, "softmax", kernel_initializer=start)(x))
    frames = np.array([[40.0, 20.0], [80.0, 0.0], [0.0, 60.0]], "float32")
    parts = frames / 40 / 3 * [3.0, -1.0] / 2.0
    z = parts.sum()
    gain = -np.log1p(np.exp(-z)) + np.log(2)
    credit = integrate_gradients(body, frames, 1, temperature=2.0)
    np.testing.assert_allclose(credit, parts / z * gain, rtol=1e-4, atol=1e-7)


def trace(predictor: Predictor, y: np.ndarray, emotion: str):
    """Credits of one clip, and the gain that they should add up to."""
    front, body = predictor.model.layers[-2:]
    frames = front(fit_clip(y, SETTINGS.n_samples)[None]).numpy()
    target = CLASSES.index(emotion)
    credit = integrate_gradients(body, frames[0], target, temperature=TEMPERATURE)
    shown = body(np.concatenate([frames, np.zeros_like(frames)])).numpy()
    logs = np.log(apply_temperature(shown, TEMPERATURE))[:, target]
    return credit, float(logs[0] - logs[1])


@pytest.mark.parametrize("kind", ["one-eared", "cnn", "lstm"])
def test_credits_add_up_to_the_gain(predictors, kind):
    for y in sounds():
        every = [trace(predictors[kind], y, name) for name in CLASSES]
        most = max(abs(gain) for _, gain in every)
        assert most > 0.1  # there is something to add up
        for credit, gain in every:
            assert credit.sum() == pytest.approx(gain, abs=0.04 * most)


# ---------------------------------------------------------------------------- one clip


def test_only_the_band_that_is_listened_to_has_credit(predictors):
    found = explain_clip(predictors["one-eared"], sounds()[0])
    others = np.delete(found.attribution, BAND, axis=1)
    assert (others == 0).all()
    assert (found.attribution[:, BAND] != 0).any()
    # Every frame counts by its level: the body takes the mean.
    share = found.frames[:, BAND] / found.frames[:, BAND].sum()
    np.testing.assert_allclose(found.attribution[:, BAND], share * found.attribution.sum(), 1e-3)


def test_what_is_seen_is_what_is_heard(predictors):
    long = np.concatenate([0.1 * tone(300, duration_s=4.0), tone(2000, duration_s=1.0)])
    for y in (*sounds(), long):
        found = explain_clip(predictors["lstm"], y)
        assert found.y.shape == (SETTINGS.n_samples,) and found.y.dtype == np.float32
        np.testing.assert_array_equal(found.y, fit_clip(y, SETTINGS.n_samples))
        picture = compute_features(found.y, family="logmel", settings=SETTINGS)
        np.testing.assert_allclose(found.frames, picture, atol=0.5)  # dB of 80
        assert found.attribution.shape == found.frames.shape == picture.shape
    # Of the long one, the loud end.
    assert np.abs(found.y - long[-SETTINGS.n_samples :]).max() < 1e-6


def test_the_likeliest_emotion_is_explained(predictors):
    for predictor in predictors.values():
        for y in sounds():
            assert explain_clip(predictor, y).emotion == predictor.predict_waves([y])["emotion"][0]


def test_models_on_functionals_have_no_picture(tmp_path):
    from keras import Input, Model, layers

    inputs = Input((40,))
    model = Model(inputs, layers.Dense(3, "softmax")(inputs))
    card = make_card(name="mfcc", input="mfcc40", classes=CLASSES, settings=SETTINGS)
    predictor = Predictor(save_model(model, tmp_path / "m.keras", card))
    with pytest.raises(UserError, match="no picture to explain: found .*, expected log_mel and"):
        explain_clip(predictor, sounds()[0])


# ---------------------------------------------------------------------------- figures


@pytest.fixture
def made_up() -> Explanation:
    """Loud everywhere; one patch speaks for the emotion, another against it."""
    frames = np.full((SETTINGS.n_frames, SETTINGS.n_mels), 40.0, "float32")
    credit = np.zeros_like(frames)
    credit[5:15, 2:5], credit[30:40, 10:13] = 1.0, -1.0
    return Explanation("喜び", frames, credit, np.zeros(SETTINGS.n_samples, "float32"), SETTINGS)


@pytest.mark.filterwarnings("ignore:Glyph .* missing from font")
def test_figure_shows_for_and_against_in_their_places(made_up):
    import matplotlib.pyplot as plt

    with mpl.rc_context():
        figure = plot_explanation(made_up, title="heard")
        figure.canvas.draw()
    assert plt.get_fignums() == []  # nothing to close
    picture, bar = figure.axes
    assert picture.get_title() == "heard"
    assert "time (s)" in picture.get_xlabel() and "Hz" in picture.get_ylabel()
    assert bar.get_ylabel() == "what speaks for 喜び, what against"
    grey, color = picture.images
    assert grey.get_cmap().name == "Greys"
    rgba = color.to_rgba(color.get_array())
    shown = rgba[..., :3]
    np.testing.assert_allclose(shown[3, 10], to_rgb("#D55E00"), atol=0.01)
    np.testing.assert_allclose(shown[11, 35], to_rgb("#0072B2"), atol=0.01)
    assert rgba[3, 10, 3] > 0.8 and rgba[11, 35, 3] > 0.8
    assert rgba[8, 22, 3] == 0  # the grey below is seen where nothing counts
    # The figure is smoothed, the attribution is not.
    assert set(np.unique(made_up.attribution)) == {-1, 0, 1}


def test_frequency_ticks_stand_at_their_bands(made_up):
    figure = plot_explanation(made_up)
    figure.canvas.draw()
    picture = figure.axes[0]
    labels = [label.get_text() for label in picture.get_yticklabels()]
    places = dict(zip(labels, picture.get_yticks(), strict=True))
    centres = librosa.mel_frequencies(SETTINGS.n_mels + 2, fmin=0, fmax=8000, htk=True)[1:-1]
    for hz in (250, 1000, 4000):
        band = np.interp(hz, centres, range(SETTINGS.n_mels))
        assert places[str(hz)] == pytest.approx(band, abs=0.1)
    # Frame i is centred on i hops.
    left, right, *_ = picture.images[0].get_extent()
    step_s = SETTINGS.hop / 16_000
    assert left == -step_s / 2 and right == pytest.approx(1.0 + step_s / 2)
