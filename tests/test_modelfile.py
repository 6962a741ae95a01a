"""One file per model: the card travels with it, and a pair that does not match is refused."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import warnings
import zipfile
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT
from tiny import CLASSES, SETTINGS, build_tiny_body, build_tiny_model, tone

from helpers.corpora.table import EMOTIONS
from helpers.errors import UserError
from helpers.features.extract import FeatureSettings
from helpers.models.modelfile import (
    CARD_NAME,
    load_model,
    make_card,
    read_card,
    save_model,
    update_card,
)
from helpers.models.prediction import Predictor

PRETRAINED = ROOT / "outputs" / "pretrained" / "model.keras"


@pytest.fixture(scope="module")
def model():
    return build_tiny_model()


@pytest.fixture
def card() -> dict:
    facts = {"corpora": ["own"], "licences": {"own": "CC BY 4.0"}, "n": np.int64(3)}
    return make_card(name="tiny", classes=CLASSES, settings=SETTINGS, temperature=1.5, **facts)


@pytest.fixture(scope="module")
def saved(model, tmp_path_factory) -> Path:
    card = make_card(name="tiny", classes=CLASSES, settings=SETTINGS)
    return save_model(model, tmp_path_factory.mktemp("saved") / "model.keras", card)


@pytest.fixture
def copy(saved: Path, tmp_path: Path) -> Path:
    (tmp_path / "model.keras").write_bytes(saved.read_bytes())
    return tmp_path / "model.keras"


def replace_member(path: Path, name: str, content: bytes | None) -> Path:
    """Rewrite a zip with one member replaced, or left out."""
    with zipfile.ZipFile(path) as archive:
        members = {item: archive.read(item) for item in archive.namelist() if item != name}
    with zipfile.ZipFile(path, "w") as archive:
        for item, old in members.items():
            archive.writestr(item, old)
        if content is not None:
            archive.writestr(name, content)
    return path


def test_card_and_weights_survive(model, card, tmp_path):
    path = save_model(model, tmp_path / "deep" / "model.keras", card)
    again, found = load_model(path)
    assert found == read_card(path) == json.loads(json.dumps({**card, "n": 3}))
    assert found["classes"] == CLASSES  # in this order, which is not the display order
    assert (found["name"], found["input"], found["temperature"]) == ("tiny", "waveform", 1.5)
    assert {"tensorflow", "keras", "numpy", "python"} <= set(found["versions"])
    assert found["licences"] == {"own": "CC BY 4.0"}
    assert FeatureSettings(**found["features"]) == SETTINGS != FeatureSettings()
    x = np.stack([tone(220, duration_s=1.0), tone(2000, duration_s=1.0)])
    np.testing.assert_array_equal(again(x), model(x))


@pytest.mark.parametrize("name", ["tiny", "pretrained"])
def test_model_loads_anywhere_without_this_package(name, saved, tmp_path):
    path = saved if name == "tiny" else PRETRAINED
    # -I and another folder: neither the working folder nor PYTHONPATH can lend the package. It may
    # be installed as editable, so its import is blocked outright.
    code = f"""
import sys
sys.modules["helpers"] = None
import json, zipfile, numpy, keras
model = keras.saving.load_model({str(path)!r}, safe_mode=True)
card = json.loads(zipfile.ZipFile({str(path)!r}).read("card.json"))
y = numpy.load("y.npy")
print(json.dumps(dict(zip(card["classes"], model(y[None]).numpy()[0].tolist()))))
own = sorted(k for k, v in sys.modules.items() if k.startswith("helpers") and v is not None)
assert not own, own
"""
    y = tone(500, duration_s=1.0)
    np.save(tmp_path / "y.npy", y)
    done = subprocess.run(
        [sys.executable, "-I", "-c", code], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-2000:]
    outside = json.loads(done.stdout)
    model, card = load_model(path)
    inside = model(y[None]).numpy()[0]
    assert list(outside) == card["classes"]
    np.testing.assert_allclose(list(outside.values()), inside, atol=1e-6)


def test_the_model_that_comes_along_says_what_it_is():
    card = read_card(PRETRAINED)
    assert PRETRAINED.stat().st_size <= 5_000_000
    assert card["classes"] == list(EMOTIONS[:8]) and not card["synthetic"]
    assert card["corpora"] == sorted(card["licences"]) == ["emodb", "nemo", "ravdess", "tess"]
    assert not set(card["speakers"]["train"]) & set(card["speakers"]["validation"])
    metrics = json.loads((PRETRAINED.parent / "metrics.json").read_text(encoding="utf-8"))
    score = metrics["protocols"]["speaker-independent"]["model.keras"]
    assert (score["n"], score["n_speakers"], score["interval_unit"]) == (1440, 24, "speaker")
    headline = card["description"]["headline"]
    assert headline["uar"] == score["uar"] > 0.5


def test_update_card_changes_the_card_alone(copy, tmp_path):
    target = update_card(copy, tmp_path / "run" / "model.keras", temperature=2.5, note="é")
    assert read_card(copy)["temperature"] == 1.0
    assert read_card(target) == read_card(copy) | {"temperature": 2.5, "note": "é"}
    x = tone(duration_s=1.0)[None]
    np.testing.assert_array_equal(load_model(target)[0](x), load_model(copy)[0](x))
    with zipfile.ZipFile(target) as archive:
        assert archive.namelist().count(CARD_NAME) == 1
    # Onto itself too: the old file is read before the new one takes its place.
    update_card(target, target, temperature=3.0)
    assert load_model(target)[1]["temperature"] == 3.0


def test_saving_is_all_or_nothing(model, card, copy, monkeypatch):
    before = copy.read_bytes()

    def break_off(path: Path, card: dict) -> None:
        raise OSError("disk full")

    monkeypatch.setattr("helpers.models.modelfile._append_card", break_off)
    with pytest.raises(OSError, match="disk full"):
        save_model(model, copy, card)
    with pytest.raises(OSError, match="disk full"):
        update_card(copy, copy, temperature=2.0)
    assert copy.read_bytes() == before
    assert os.listdir(copy.parent) == ["model.keras"]


# ---------------------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"classes": ["sad", "angry"]}, "classes is ['sad', 'angry'], expected 3 names"),
        ({"classes": ["sad", "sad", "angry"]}, "expected 3 names, one per output"),
        ({"classes": "abc"}, "classes is 'abc', expected 3 names"),
        ({"temperature": "1"}, "temperature is '1', expected a number from 0.01 to 100"),
        ({"temperature": 0}, "temperature is 0, expected"),
        ({"threshold": 1.5}, "threshold is 1.5, expected a number from 0 to 1"),
        ({"sample_rate": 8000, "format": None}, "format is None, expected 1; sample_rate is 8000"),
        ({"input": "vector162"}, "input is 'vector162', and the model takes (None, None)"),
        ({"features": {"hop_length": 256}}, "the feature setting hop_length is 256, expected one"),
        (
            {"features": {"clip_s": "3"}},
            "the feature setting clip_s is '3', expected one such as 3",
        ),
        ({"features": {"n_fft": 10**9}}, "the feature setting n_fft is 1000000000"),
        ({"features": 3}, "features is no table"),
    ],
)
def test_card_that_does_not_match_is_refused(copy, changes, message):
    replace_member(copy, CARD_NAME, json.dumps({**read_card(copy), **changes}).encode())
    with pytest.raises(UserError) as caught:
        load_model(copy)
    assert str(caught.value).startswith(f"{copy}: the card does not match the model: ")
    assert message in str(caught.value)


def test_features_without_time_take_no_waveform(card, tmp_path):
    # A body on log-mel frames without its front end would be fed a waveform.
    path = save_model(build_tiny_body(), tmp_path / "model.keras", card)
    with pytest.raises(UserError, match="input is 'waveform', and the model takes"):
        load_model(path)


@pytest.mark.parametrize("content", [None, b"", b"{", b"[]", b"\xff\xfe\x00"])
def test_file_without_readable_card_is_refused(copy, content):
    replace_member(copy, CARD_NAME, content)
    with pytest.raises(UserError, match=r"expected a model\.keras with its card\.json"):
        load_model(copy)


def test_what_is_no_model_file_is_refused(copy, tmp_path):
    whole = copy.read_bytes()
    for share in (0, 0.3, 0.999):
        copy.write_bytes(whole[: int(share * len(whole))])
        with pytest.raises(UserError, match=r"card\.json \(File is not a zip file\)"):
            load_model(copy)
    for path, reason in ((tmp_path / "none.keras", "No such file"), (tmp_path, "Is a directory")):
        with pytest.raises(UserError, match=reason):
            load_model(path)


def test_damaged_inside_is_refused(copy):
    replace_member(copy, "model.weights.h5", b"\0" * 2000)
    with pytest.raises(UserError, match="Keras cannot load it"):
        load_model(copy)


def test_code_in_a_model_is_refused(card, tmp_path):
    import keras

    wave = keras.Input((None,))
    x = keras.layers.Lambda(lambda y: y[:, :3], output_shape=(3,))(wave)
    path = save_model(keras.Model(wave, x), tmp_path / "model.keras", card)
    with pytest.raises(UserError, match="Keras cannot load it"):
        load_model(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"name": None}, "are no names"),
        ({"corpora": [["ravdess"]]}, "are no names"),
        ({"protocol": {}}, "are no names"),
        ({"speakers": {"train": 3}}, "are no names"),
        ({"corpora": ["\x1b[2J"]}, "are no names"),
        ({"description": []}, "description is no table"),
        ({"licences": 3}, "licences is no table"),
    ],
)
def test_a_card_of_other_things_is_refused(copy, change, message):
    update_card(copy, copy, **change)
    with pytest.raises(UserError, match=message):
        load_model(copy)


@pytest.mark.parametrize("headline", [{}, {"uar_interval": 3}, {"uar_interval": [0, "high"]}, 7])
def test_a_score_that_is_none_is_not_told(copy, headline):
    update_card(copy, copy, description={"headline": headline})
    assert Predictor(copy).introduce().endswith("its score on other clips is not known")


@pytest.mark.parametrize(
    ("name", "size"), [("zeros", 10**7), (CARD_NAME, 10), ("model.weights.h5", 10)]
)
def test_an_archive_that_is_no_model_is_not_unpacked(copy, name, size):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the same name twice
        with zipfile.ZipFile(copy, "a", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr(name, bytes(size))
    with pytest.raises(UserError, match="holds a part twice, or unpacks to far more"):
        load_model(copy)


def test_a_name_that_leads_out_of_the_archive_writes_nothing(copy, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "a" / "b"))
    (tmp_path / "a" / "b").mkdir(parents=True)
    with zipfile.ZipFile(copy, "a") as archive:
        archive.writestr("../evil.txt", "x")
        archive.writestr("assets/../../evil.txt", "x")
    with suppress(UserError):
        load_model(copy)
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["model.keras"]
