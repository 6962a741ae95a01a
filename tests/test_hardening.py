"""Pictures are spoiled as rooms, noise and microphones do it; others stay as they are."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from conftest import ROOT

sys.path.insert(0, str(ROOT / "benchmarks"))
import hardening
from hardening import harden_frames


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


@pytest.fixture
def tone() -> np.ndarray:
    """Eight clips of silence with 0.4 s of one band at 80 dB, as power."""
    power = np.zeros((8, 151, 64))
    power[:, 40:60, 20] = 1e8
    return power


def make_batch(n: int = 64, n_bins: int = 64) -> np.ndarray:
    batch = np.random.default_rng(1).uniform(0, 80, (n, 151, n_bins)).astype("float32")
    batch[:, :20] = 0  # silence
    batch[:, 75, 30] = 80
    return batch


@pytest.mark.parametrize("n_bins", [64, 128])
def test_spoiled_pictures_are_pictures(n_bins, rng):
    batch = make_batch(n_bins=n_bins)
    kept = batch.copy()
    found = harden_frames(batch, rng)
    assert found.shape == batch.shape and found.dtype == np.float32
    assert np.isfinite(found).all() and found.min() >= 0 and found.max() <= 80
    np.testing.assert_array_equal(batch, kept)  # a map of the disk is not written to
    again = harden_frames(batch, np.random.default_rng(0))
    np.testing.assert_array_equal(again, found)


def test_a_share_of_the_clips_stays_clean(monkeypatch, rng):
    monkeypatch.setattr(hardening, "augment_frames", lambda batch, rng: batch)
    batch = make_batch(400)
    same = (harden_frames(batch, rng) == batch).all(axis=(1, 2))
    assert same.mean() == pytest.approx(hardening._CLEAN_SHARE, abs=0.06)


def test_a_room_dies_away_behind_the_sound(tone, rng):
    tails = hardening._make_tail(tone, rng)
    assert (tails[:, :41] == 0).all() and (np.delete(tails, 20, axis=2) == 0).all()
    heard = tails[tails[:, 60, 20] > 0, :, 20]
    assert 0 < len(heard) < 8  # some clips meet no room
    # In 1 s, by at least the 60 dB of the longest room; noise flickers by some dB.
    assert (heard[:, 130] < 1e-5 * heard[:, 60:64].max(axis=1)).all()


def test_noise_lies_5_to_40_db_below_the_voice(rng):
    power = 10 ** (make_batch(300) / 10) - 1
    noise = hardening._make_noise(power, rng).mean(axis=(1, 2)) / power.mean(axis=(1, 2))
    snr_db = -10 * np.log10(noise[noise > 0])
    assert (noise == 0).mean() == pytest.approx(1 - hardening._NOISE, abs=0.1)
    assert 5 <= snr_db.min() < 8 and 37 < snr_db.max() < 40.1


def test_a_microphone_bends_all_frames_alike(rng):
    gain_db = hardening._colour(200, 64, rng)
    assert gain_db.shape == (200, 64)
    tilt = np.polyfit(np.linspace(-1, 1, 64), gain_db.T, 1)[0]
    assert tilt.min() < -5 and tilt.max() > 5
    assert (gain_db.max(axis=1) <= 16).all()
