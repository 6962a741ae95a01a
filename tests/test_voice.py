"""The pitch tracker and the columns of prosody, on voices whose truth is known."""

from __future__ import annotations

import librosa
import numpy as np
import pytest
from scipy.signal import lfilter

from helpers.features.extract import compute_features
from helpers.features.voice import _FRAME, _mel_bands, track_pitch
from helpers.sound.audio import SAMPLE_RATE

HOP = 160


def make_voice(f0: np.ndarray | float, *, seconds: float = 1.0) -> np.ndarray:
    """Harmonics under a vowel-like envelope; the pitch may change from sample to sample."""
    n = round(seconds * SAMPLE_RATE)
    f0 = np.broadcast_to(np.asarray(f0, dtype=float), n)
    phase = 2 * np.pi * np.cumsum(f0) / SAMPLE_RATE
    y = np.zeros(n)
    for k in range(1, 20):
        hz = k * f0
        gain = 1 / (1 + ((hz - 500) / 200) ** 2) + 0.5 / (1 + ((hz - 1500) / 200) ** 2) + 0.05
        y += np.where(hz < 7000, gain, 0) * np.sin(k * phase)
    return (0.3 * y / np.abs(y).max()).astype("float32")


def cents_off(found: np.ndarray, f0: np.ndarray | float) -> np.ndarray:
    return np.abs(1200 * np.log2(found / f0))


@pytest.mark.parametrize("f0", [70, 100, 150, 220, 330, 470, 570])
@pytest.mark.parametrize("snr_db", [10, 60])
def test_a_steady_pitch_is_found_in_every_frame(f0, snr_db):
    y = make_voice(f0)
    noise = np.random.default_rng(0).normal(size=len(y)) * 10 ** (-snr_db / 20) * y.std()
    pitch = track_pitch((y + noise).astype("float32"), hop=HOP)
    assert len(pitch.f0) == len(pitch.periodicity) == 1 + len(y) // HOP
    inner = pitch.f0[6:-6]
    assert np.isfinite(inner).all()
    assert cents_off(inner, f0).max() < (60 if snr_db == 10 else 10)


@pytest.mark.parametrize(("start", "end"), [(90, 220), (400, 180)])
def test_a_gliding_pitch_is_followed(start, end):
    f0 = np.geomspace(start, end, SAMPLE_RATE)
    found = track_pitch(make_voice(f0), hop=HOP).f0
    assert cents_off(found[6:-6], f0[::HOP][6 : len(found) - 6]).max() < 60


def test_there_is_no_pitch_in_noise_and_silence():
    noise = np.random.default_rng(0).normal(0, 0.1, SAMPLE_RATE).astype("float32")
    assert np.isfinite(track_pitch(noise, hop=HOP).f0).mean() < 0.05
    assert not np.isfinite(track_pitch(0 * noise, hop=HOP).f0).any()
    y = np.concatenate([noise[:8000] / 1000, make_voice(150), noise[:8000] / 1000])
    voiced = np.isfinite(track_pitch(y, hop=HOP).f0)
    assert voiced[60:140].all() and not voiced[:45].any() and not voiced[160:].any()


@pytest.mark.parametrize("snr_db", [0, 10, 20])
def test_periodicity_is_the_harmonics_to_noise_ratio(snr_db):
    y = make_voice(150, seconds=2)
    noise = np.random.default_rng(1).normal(size=len(y)) * y.std() * 10 ** (-snr_db / 20)
    share = track_pitch((y + noise).astype("float32"), hop=HOP).periodicity
    share = share[np.isfinite(share)]
    assert np.mean(10 * np.log10(share / (1 - share))) == pytest.approx(snr_db, abs=1.5)


# --- prosody ---------------------------------------------------------------------------------


def say(syllables: int, *, f0: float = 150, each_s: float = 0.15, gap_s: float = 0.1):
    """So many vowels, one after the other, between two half seconds of silence."""
    hill = np.hanning(round(each_s * SAMPLE_RATE)).astype("float32")
    vowel = make_voice(f0, seconds=each_s) * hill
    gap = np.zeros(round(gap_s * SAMPLE_RATE), "float32")
    parts = [np.concatenate([vowel, gap])] * syllables
    return np.pad(np.concatenate(parts), SAMPLE_RATE // 2)


@pytest.mark.parametrize("syllables", [2, 4, 7])
def test_syllables_are_counted(syllables):
    row = compute_features(say(syllables), family="prosody")
    seconds = syllables * 0.25 - 0.1
    assert row["syllables_per_s"] * seconds == pytest.approx(syllables, abs=0.8)
    assert 0.1 < row["pause_share"] < 0.6


def test_an_octave_is_twelve_semitones():
    low, high = (compute_features(make_voice(f0), family="prosody") for f0 in (110, 220))
    assert high["f0_st_mean"] - low["f0_st_mean"] == pytest.approx(12, abs=0.1)
    assert low["f0_st_mean"] == pytest.approx(12 * np.log2(1.1), abs=0.1)
    assert low["f0_st_range"] < 0.5 and low["voiced_share"] > 0.9


def test_a_rise_is_no_fall():
    up = compute_features(make_voice(np.geomspace(100, 200, SAMPLE_RATE)), family="prosody")
    down = compute_features(make_voice(np.geomspace(200, 100, SAMPLE_RATE)), family="prosody")
    assert up["f0_st_s_rise"] == pytest.approx(12, rel=0.15) and abs(up["f0_st_s_fall"]) < 1
    assert down["f0_st_s_fall"] == pytest.approx(-12, rel=0.15) and down["f0_st_s_rise"] < 1


def test_silence_around_a_recording_says_nothing():
    y = say(4)
    near, far = (compute_features(np.pad(y, n), family="prosody") for n in (0, 16_000))
    for name in set(near) - {"f0_st_mean"}:
        assert far[name] == pytest.approx(near[name], rel=0.1, abs=0.05), name


def test_a_pressed_voice_has_a_flatter_spectrum():
    y = make_voice(150)
    dark = lfilter([1], [1, -0.9], y).astype("float32")
    bright, dull = (compute_features(x, family="prosody") for x in (y, dark))
    for name in ("alpha_ratio_db", "hammarberg_db"):
        assert dull[name] > bright[name] + 3


def test_mel_bands_are_those_of_librosa():
    bands = librosa.filters.mel(sr=SAMPLE_RATE, n_fft=_FRAME, n_mels=20)
    assert _mel_bands() == pytest.approx(bands.T, abs=1e-8)
