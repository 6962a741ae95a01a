"""The table of what augmentation does: right copies, right sides, right scores."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import soundfile

from helpers.experiments import ablation
from helpers.experiments.ablation import FAMILY, ablate, change_clips
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
    plain = change_clips(few, "", {})
    softer = change_clips(few, "gain", {"gain_db": -6.0})
    assert plain.index.equals(few.index) and plain.shape == (3, 180)
    for row, path in few["path"].items():
        y = load_audio(path)
        rng = np.random.default_rng(0)
        expected = compute_features(change_gain(y, rng, gain_db=-6.0), family=FAMILY)
        np.testing.assert_allclose(softer.loc[row], list(expected.values()), rtol=1e-5)
    again = change_clips(few, "noise", {"snr_db": 5.0}, seed=4)
    pd.testing.assert_frame_equal(again, change_clips(few, "noise", {"snr_db": 5.0}, seed=4))
    first = add_noise(load_audio(few["path"].iloc[0]), np.random.default_rng((4, 0)), snr_db=5.0)
    np.testing.assert_allclose(
        again.iloc[0], list(compute_features(first, family=FAMILY).values()), rtol=1e-5
    )


def test_babble_is_made_of_other_people(clips, monkeypatch):
    read = []
    monkeypatch.setattr(ablation, "load_audio", lambda path: read.append(path) or load_audio(path))
    train = clips[clips[PROTOCOL] == "train"]
    change_clips(train[:1], "babble", {"snr_db": 10.0}, voices=train, n_jobs=1)
    assert read[0] == train["path"].iloc[0] and len(read) == 5
    assert {train.set_index("path").loc[path, "speaker"] for path in read[1:]} == {"b"}


def test_the_test_side_is_never_heard_and_sides_do_not_mix(clips, monkeypatch):
    heard = []

    def spy(clips, name, amount, *, voices=None, seed=0, n_jobs=-1):
        heard.append((set(clips["speaker"]), None if voices is None else set(voices["speaker"])))
        return change_clips(clips, name, amount, voices=voices, seed=seed, n_jobs=n_jobs)

    monkeypatch.setattr(ablation, "change_clips", spy)
    noise = {"noise": {"snr_db": 0.0}, "babble": {"snr_db": 0.0}}
    found = ablate(clips, PROTOCOL, noise, noise, n_train=8, n_validation=6, n_jobs=1)
    for speakers, voices in heard:
        assert speakers in ({"a", "b"}, {"c"})
        assert voices is None or voices == speakers
    assert found.index.tolist() == ["nothing", "noise", "babble"]
    assert found.columns.tolist() == ["as recorded", "noise", "babble"]
    assert found.attrs == {"n": 6, "n_train": 8, "speakers": 1}
    assert found.loc["nothing", "as recorded"] == 1.0  # dark or bright: a child could tell
    assert ((found >= 0) & (found <= 1)).all(axis=None)


def test_the_side_to_be_learned_is_drawn_evenly(clips):
    few = ablation.draw_clips(clips[:18], 8, seed=0)  # 12 sad and angry of a, 6 sad of b
    assert few["emotion"].value_counts().to_dict() == {"sad": 4, "angry": 4}
    assert few.equals(ablation.draw_clips(clips[:18], 8, seed=0))
