"""The table of what augmentation does: right copies, right sides, right scores."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import soundfile

from helpers.experiments import baselines
from helpers.experiments.baselines import ablate, change_clips
from helpers.features.extract import compute_features
from helpers.sound.audio import SAMPLE_RATE, load_audio
from helpers.sound.augment import add_noise, change_gain

PROTOCOL = "speaker-independent"
SIDES = {"a": "train", "b": "train", "c": "validation", "d": "test"}


@pytest.fixture(scope="module")
def clips(tmp_path_factory) -> pd.DataFrame:
    """Dark and bright hums of four speakers."""
    folder = tmp_path_factory.mktemp("clips")
    rng = np.random.default_rng(0)
    rows = []
    for speaker, side in SIDES.items():
        for emotion, hz in (("sad", 200), ("angry", 900)):
            for take in range(6):
                time = np.arange(SAMPLE_RATE // 2) / SAMPLE_RATE
                y = 0.2 * np.sin(2 * np.pi * hz * (1 + 0.1 * rng.random()) * time)
                path = folder / f"{speaker}-{emotion}-{take}.wav"
                soundfile.write(path, y + rng.normal(0, 0.005, len(y)), SAMPLE_RATE)
                rows.append((str(path), speaker, emotion, side))
    return pd.DataFrame(rows, columns=["path", "speaker", "emotion", PROTOCOL])


def test_copies_are_those_of_the_augmentation(clips):
    few = clips[5:8]
    softer = change_clips(few, {"gain": {"gain_db": -6.0}})["gain"]
    assert softer.index.equals(few.index) and softer.shape == (3, 180)
    for row, path in few["path"].items():
        y = load_audio(path)
        rng = np.random.default_rng(0)
        expected = compute_features(change_gain(y, rng, gain_db=-6.0), family="vector180")
        np.testing.assert_allclose(softer.loc[row], list(expected.values()), rtol=1e-5)
    noisy = change_clips(few, {"noise": {"snr_db": 5.0}}, seed=4)["noise"]
    first = add_noise(load_audio(few["path"].iloc[0]), np.random.default_rng((4, 0)), snr_db=5.0)
    expected = compute_features(first, family="vector180")
    np.testing.assert_allclose(noisy.iloc[0], list(expected.values()), rtol=1e-5)


def test_babble_is_made_of_other_people(clips, monkeypatch):
    read = []
    monkeypatch.setattr(baselines, "load_audio", lambda path: read.append(path) or load_audio(path))
    few = clips.iloc[[0, 12, 13]]  # a, b, b
    change_clips(few, {"babble": {"snr_db": 10.0}})
    a, *others = few["path"]
    assert read[0] == a and set(read[1:3]) == set(others) and read[3:] == [
        others[0], a, others[1], a
    ]  # fmt: skip


def test_the_test_side_is_never_heard_and_sides_do_not_mix(clips, monkeypatch):
    changed = []

    def spy(clips, amounts, *, seed):
        changed.append(set(clips["speaker"]))
        return change_clips(clips, amounts, seed=seed)

    monkeypatch.setattr(baselines, "change_clips", spy)
    noise = {"noise": {"snr_db": 0.0}, "babble": {"snr_db": 0.0}}
    found, held = ablate(clips, PROTOCOL, noise, noise, n_train=8, n_validation=6)
    assert changed == [{"c"}, {"a", "b"}]
    assert found.index.tolist() == ["nothing", "noise", "babble"]
    assert found.columns.tolist() == ["as recorded", "noise", "babble"]
    assert len(held) == 6 and set(held["speaker"]) == {"c"}
    assert found.loc["nothing", "as recorded"] == 1.0  # dark or bright: a child could tell
    assert ((found >= 0) & (found <= 1)).all(axis=None)
