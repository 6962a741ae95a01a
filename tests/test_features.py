"""The formulas against librosa's own calls, and the batch, cache and order around them."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import librosa
import numpy as np
import pandas as pd
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from helpers.features import extract as features
from helpers.features.effects import measure_effects
from helpers.features.extract import (
    compute_features,
    extract_features,
    feature_names,
    fit_clip,
)
from helpers.features.families import FAMILIES, FRAME_FAMILIES, Analysis, FeatureSettings
from helpers.sound.audio import SAMPLE_RATE, load_audio

SETTINGS = FeatureSettings()
#: What a direct call of librosa must be told to cut the frames that the project cuts.
FRAMES = {"n_fft": SETTINGS.n_fft, "hop_length": SETTINGS.hop, "pad_mode": "reflect"}
N_FRAMES = SETTINGS.n_frames
RATE = {"sr": SAMPLE_RATE}

#: One thread or two in a matrix product changes the last bit.
TOLERANCE = {"rtol": 1e-5, "atol": 1e-4}

# How many of the 254 columns each group of the seed has (DESIGN).
GROUPS = {
    r"zcr_(mean|std|max|min)": 4,
    r"rms_(mean|std|max|min)": 4,
    r"centroid_(mean|std|max|min)": 4,
    r"bandwidth_(mean|std|max|min)": 4,
    r"rolloff_(mean|std|max|min)": 4,
    r"contrast_\d\d_(mean|std)": 14,
    r"flatness_(mean|std)": 2,
    r"mfcc_\d\d_(mean|std|max|min)": 80,
    r"mfcc_delta_\d\d_(mean|std)": 40,
    r"mfcc_delta2_\d\d_(mean|std)": 40,
    r"chroma_\d\d_(mean|std)": 24,
    r"tonnetz_\d\d_(mean|std)": 12,
    r"tempo_bpm|beat_.*": 3,
    r"f0_(mean|std|max|min)": 4,
    r"mel_(mean|std|max|min|median|quartile1|quartile3)": 7,
    r"mel_band_\d_mean": 8,
}


def make_tone(f0: float, *, seconds: float = 1.0, harmonics: int | None = None) -> np.ndarray:
    """A sum of harmonics: one is a sine, all of them a saw."""
    time = np.arange(round(seconds * SAMPLE_RATE)) / SAMPLE_RATE
    orders = range(1, (harmonics or int(7000 / f0)) + 1)
    return (0.2 * sum(np.sin(2 * np.pi * f0 * k * time) / k for k in orders)).astype("float32")


def make_voice(seed: int, *, seconds: float = 1.2) -> np.ndarray:
    """Something like speech: a gliding pitch, syllables, a noise floor."""
    rng = np.random.default_rng(seed)
    time = np.arange(round(seconds * SAMPLE_RATE)) / SAMPLE_RATE
    phase = 2 * np.pi * np.cumsum(rng.uniform(90, 220) * (1 + 0.2 * np.sin(5 * time))) / SAMPLE_RATE
    voice = sum(np.sin(k * phase) / k for k in range(1, 20))
    syllables = np.clip(np.sin(2 * np.pi * rng.uniform(2, 5) * time), 0, 1)
    return (0.1 * voice * syllables + rng.normal(0, 1e-3, len(time))).astype("float32")


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    """Six recordings of different lengths, in a table whose index is not 0 … n-1."""
    folder = tmp_path_factory.mktemp("clips")
    paths = [folder / f"{name}.wav" for name in "dbface"]
    for seed, path in enumerate(paths):
        soundfile.write(path, make_voice(seed, seconds=0.5 + 0.6 * seed), SAMPLE_RATE)
    return pd.DataFrame({"path": [str(path) for path in paths]}, index=[7, 3, 11, 0, 5, 2])


@pytest.fixture
def computed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the clips that were decoded anew rather than read from the cache."""
    names: list[str] = []

    def spy(source, *, name=None):
        names.append(name or source)
        return load_audio(source, name=name)

    monkeypatch.setattr(features, "load_audio", spy)
    return names


# --- the formulas ----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def voice() -> np.ndarray:
    return make_voice(1)


@pytest.fixture(scope="module")
def row(voice: np.ndarray) -> dict[str, float]:
    return compute_features(voice, family="functionals")


def direct_calls(y: np.ndarray) -> dict[str, np.ndarray]:
    """Each representation as a reader of librosa's manual would compute it."""
    frames = {"frame_length": FRAMES["n_fft"], "hop_length": FRAMES["hop_length"]}
    mfcc = librosa.feature.mfcc(y=y, n_mfcc=20, **RATE, **FRAMES)
    chroma = librosa.feature.chroma_stft(y=y, tuning=0, **RATE, **FRAMES)
    return {
        "zcr": librosa.feature.zero_crossing_rate(y, **frames),
        "rms": librosa.feature.rms(y=y, **frames),
        "centroid": librosa.feature.spectral_centroid(y=y, **RATE, **FRAMES),
        "bandwidth": librosa.feature.spectral_bandwidth(y=y, **RATE, **FRAMES),
        "rolloff": librosa.feature.spectral_rolloff(y=y, **RATE, **FRAMES),
        "contrast": librosa.feature.spectral_contrast(y=y, **RATE, **FRAMES),
        "flatness": librosa.feature.spectral_flatness(y=y, **FRAMES),
        "mfcc": mfcc,
        "mfcc_delta": librosa.feature.delta(mfcc),
        "mfcc_delta2": librosa.feature.delta(mfcc, order=2),
        "chroma": chroma,
        "tonnetz": librosa.feature.tonnetz(chroma=chroma),
    }


def test_functionals_are_what_librosa_computes(voice, row):
    for name, values in direct_calls(voice).items():
        single = len(values) == 1
        for i, data in enumerate(values, 1):
            column = name if single else f"{name}_{i:02d}"
            found = {key: row[f"{column}_{key}"] for key in ("mean", "std")}
            assert found == pytest.approx(
                {"mean": data.mean(), "std": data.std()}, rel=1e-3, abs=1e-4
            ), column
            if f"{column}_max" in row:
                assert row[f"{column}_max"] == pytest.approx(data.max(), rel=1e-3, abs=1e-4)
                assert row[f"{column}_min"] == pytest.approx(data.min(), rel=1e-3, abs=1e-4)


def test_mel_statistics_are_what_librosa_computes(voice, row):
    mel = librosa.power_to_db(librosa.feature.melspectrogram(y=voice, **RATE, **FRAMES))
    expected = {
        "mel_mean": mel.mean(),
        "mel_std": mel.std(),
        "mel_max": mel.max(),
        "mel_min": mel.min(),
        "mel_median": np.median(mel),
        "mel_quartile1": np.quantile(mel, 0.25),
        "mel_quartile3": np.quantile(mel, 0.75),
    } | {f"mel_band_{i + 1}_mean": mel[16 * i : 16 * (i + 1)].mean() for i in range(8)}
    assert {key: row[key] for key in expected} == pytest.approx(expected, abs=1e-3)


def test_tempo_and_beats_are_what_librosa_computes(voice, row):
    tempo, beats = librosa.beat.beat_track(
        onset_envelope=librosa.onset.onset_strength(y=voice, **RATE, **FRAMES),
        **RATE, hop_length=SETTINGS.hop, units="time",
    )  # fmt: skip
    assert row["tempo_bpm"] == pytest.approx(float(np.squeeze(tempo)))
    assert row["beat_count"] == len(beats) > 1
    assert row["beat_gap_s_std"] == pytest.approx(np.diff(beats).std(), abs=1e-9)


def test_means_are_what_librosa_computes(voice):
    direct = direct_calls(voice)
    mfcc = librosa.feature.mfcc(y=voice, n_mfcc=40, **RATE, **FRAMES)
    means = compute_features(voice, family="mfcc40")
    assert list(means.values()) == pytest.approx(mfcc.mean(axis=1).tolist(), rel=1e-4, abs=1e-3)

    mel = librosa.feature.melspectrogram(y=voice, n_mels=128, **RATE, **FRAMES)
    blocks = (direct["zcr"], direct["chroma"], mfcc[:20], direct["rms"], mel)
    expected = np.concatenate([block.mean(axis=1) for block in blocks])
    vector = list(compute_features(voice, family="vector162").values())
    assert vector == pytest.approx(expected.tolist(), rel=1e-3, abs=1e-4)


def test_frames_are_what_librosa_computes(voice):
    y = fit_clip(voice, SETTINGS.n_samples)
    mfcc = librosa.feature.mfcc(y=y, n_mfcc=40, **RATE, **FRAMES)
    np.testing.assert_allclose(compute_features(voice, family="mfcc"), mfcc.T, atol=1e-2)

    mel = librosa.feature.melspectrogram(y=y, n_mels=64, htk=True, norm=None, **RATE, **FRAMES)
    expected = librosa.power_to_db(mel, ref=np.max, top_db=80) + 80
    np.testing.assert_allclose(compute_features(voice, family="logmel"), expected.T, atol=1e-3)


def test_one_stft_serves_all_functionals(voice, monkeypatch):
    """None of librosa's functions has to make another one."""
    calls = []
    stft = librosa.stft
    spied = lambda *a, **k: calls.append(1) or stft(*a, **k)  # noqa: E731
    monkeypatch.setattr(librosa, "stft", spied)
    monkeypatch.setattr("librosa.core.spectrum.stft", spied)
    compute_features(voice, family="functionals")
    assert not calls
    librosa.feature.spectral_centroid(y=voice)
    assert calls, "the spy sees what librosa does"


@pytest.mark.parametrize("seconds", [0.1, 0.5, 3.0])
def test_power_is_that_of_librosa_to_the_last_bit(seconds):
    y = make_voice(0, seconds=seconds)
    stft = librosa.stft(y, n_fft=1024, hop_length=320, pad_mode="reflect")
    np.testing.assert_array_equal(Analysis(y, SETTINGS).power, stft.real**2 + stft.imag**2)


def test_rms_of_a_sine_is_its_effective_value():
    row = compute_features(make_tone(200, harmonics=1), family="functionals")
    assert row["rms_max"] == pytest.approx(0.2 / np.sqrt(2), rel=0.01)


@pytest.mark.parametrize("harmonics", [1, None], ids=["sine", "saw"])
@pytest.mark.parametrize("f0", [85, 140, 220, 440])
def test_pitch_of_a_tone_is_found(f0, harmonics):
    y = make_tone(f0, harmonics=harmonics)
    found = np.nanmedian(Analysis(y, SETTINGS).pitch.f0)
    assert abs(1200 * np.log2(found / f0)) < 20
    row = compute_features(np.pad(y, 8000), family="functionals")
    assert abs(1200 * np.log2(row["f0_mean"] / f0)) < 20  # silence around it is left out


@pytest.mark.parametrize(
    ("family", "n"),
    [("mfcc40", 40), ("vector162", 162), ("vector180", 180), ("functionals", 254), ("prosody", 19)],
)
def test_columns_are_named_once(family, n, voice):
    names = feature_names(family)
    assert len(names) == len(set(names)) == n
    assert list(compute_features(voice, family=family)) == names
    assert all(re.fullmatch(r"[a-z0-9]+(_[a-z0-9]+)*", name) for name in names)


def test_groups_of_functionals_have_the_size_of_the_seed():
    names = feature_names("functionals")
    assert {g: sum(bool(re.fullmatch(g, name)) for name in names) for g in GROUPS} == GROUPS
    assert sum(GROUPS.values()) == 254
    vector = [re.match("[a-z]+", name)[0] for name in feature_names("vector162")]
    order = ["zcr"] + ["chroma"] * 12 + ["mfcc"] * 20 + ["rms"] + ["mel"] * 128
    assert vector == order


# --- unkind clips ----------------------------------------------------------------------------

UNKIND = {
    "a tenth of a second": make_tone(200, seconds=0.1),
    "padded with silence": np.pad(make_tone(200), 16_000),
    "white noise": np.random.default_rng(0).normal(0, 0.1, 16_000).astype("float32"),
    "click": np.eye(1, 16_000, 8_000, dtype="float32")[0],
    "nearly silent": np.random.default_rng(0).normal(0, 1e-5, 16_000).astype("float32"),
    "silent": np.zeros(16_000, dtype="float32"),
    "constant": np.full(16_000, 0.2, dtype="float32"),
    "overdriven": 4 * make_tone(100),
}


@pytest.mark.parametrize("kind", UNKIND)
@pytest.mark.filterwarnings("error")
def test_every_family_stays_finite(kind):
    for family in FAMILIES:
        found = compute_features(UNKIND[kind], family=family)
        values = np.array(list(found.values()) if isinstance(found, dict) else found, dtype=float)
        assert np.isfinite(values).all(), family
        if family in FRAME_FAMILIES:
            assert values.shape == (N_FRAMES, 64 if family == "logmel" else 40)


def test_settings_change_the_shape(voice):
    settings = FeatureSettings(clip_s=1.5, hop=160, n_mels=80)
    assert compute_features(voice, family="logmel", settings=settings).shape == (151, 80)
    assert settings.n_frames == 151


@pytest.mark.parametrize("gain", [0.1, 0.5, 8])
def test_log_mel_does_not_hear_the_recording_level(gain, voice):
    quiet = compute_features((gain * voice).astype("float32"), family="logmel")
    np.testing.assert_allclose(quiet, compute_features(voice, family="logmel"), atol=1e-3)


def test_log_mel_of_digital_silence_is_zero(voice):
    frames = compute_features(voice, family="logmel")
    assert frames.max() == pytest.approx(80, abs=1e-4) and frames.min() == 0
    edge = N_FRAMES // 5
    assert (frames[:edge] == 0).all() and (frames[-edge:] == 0).all()


def test_unknown_family_is_named(voice, clips):
    for call in (
        lambda: compute_features(voice, family="chromagram"),
        lambda: extract_features(clips, family="chromagram"),
    ):
        with pytest.raises(ValueError, match="'chromagram': expected one of logmel, mfcc, mfcc40"):
            call()


# --- fitting a clip to a length --------------------------------------------------------------

WAVES = hnp.arrays(
    "float32", st.integers(0, 60), elements=st.floats(-1, 1, width=32, allow_subnormal=False)
)


@given(y=WAVES, n_samples=st.integers(1, 60))
def test_fit_clip_keeps_the_loudest_stretch(y, n_samples):
    fitted = fit_clip(y, n_samples)
    assert fitted.shape == (n_samples,) and fitted.dtype == y.dtype
    if len(y) <= n_samples:
        start = (n_samples - len(y)) // 2
        assert (fitted[start : start + len(y)] == y).all()
        assert np.count_nonzero(fitted) == np.count_nonzero(y)
        return
    windows = np.lib.stride_tricks.sliding_window_view(y, n_samples)
    assert (windows == fitted).all(axis=1).any()
    energies = (windows.astype("float64") ** 2).sum(axis=1)
    assert (fitted.astype("float64") ** 2).sum() >= energies.max() * (1 - 1e-5) - 1e-12


def test_fit_clip_shares_silence_between_the_ends():
    y = np.pad(np.ones(10, dtype="float32"), 45)
    assert np.flatnonzero(fit_clip(y, 50)).tolist() == list(range(20, 30))


# --- what explains a column ------------------------------------------------------------------


def test_effects_agree_with_a_calculation_by_hand():
    table = pd.DataFrame({"a": [1.0, 3, 5, 7], "b": [1.0, 2, 1, 2], "c": [1.0, 1, 2, 2]})
    table.index = [4, 2, 9, 0]
    groups = pd.Series(["x", "x", "y", "y"], index=table.index)
    uneven = pd.Series(["x", "y", "y", "y"], index=table.index)
    effects = measure_effects(table, {"even": groups, "uneven": uneven})
    # a: mean 4, total 20; even groups 2 and 6 → 16; uneven 1 and 5 → 9 + 3.
    assert effects.loc["a"].to_dict() == pytest.approx({"even": 16 / 20, "uneven": 12 / 20})
    assert effects.loc["b"].to_dict() == pytest.approx({"even": 0, "uneven": 1 / 3})
    assert effects.loc["c", "even"] == pytest.approx(1)


@pytest.mark.parametrize("value", [0.0, 0.1, 10_000.3])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_nothing_explains_a_constant(value, dtype):
    table = pd.DataFrame({"constant": np.full(1001, value, dtype=dtype)})
    groups = pd.Series(np.random.default_rng(0).integers(0, 3, 1001))
    assert measure_effects(table, {"any": groups}).loc["constant", "any"] == 0


# --- a whole corpus --------------------------------------------------------------------------


@pytest.mark.parametrize("family", FAMILIES)
def test_batch_equals_single_clips_in_row_order(family, clips, tmp_path):
    found = extract_features(clips, family=family, cache=tmp_path)
    single = [compute_features(load_audio(path), family=family) for path in clips["path"]]
    if family in FRAME_FAMILIES:
        assert found.shape == (len(clips), N_FRAMES, single[0].shape[1])
        # Half precision on the disk: 11 bits.
        np.testing.assert_allclose(found, np.stack(single), rtol=2**-11, atol=1e-4)
    else:
        assert found.index.equals(clips.index) and list(found) == feature_names(family)
        expected = pd.DataFrame(single, index=clips.index).astype("float32")
        pd.testing.assert_frame_equal(found, expected, **TOLERANCE)
    values = np.asarray(found)
    assert values.dtype == ("float16" if family in FRAME_FAMILIES else "float32")
    assert np.isfinite(values).all()
    assert len(np.unique(values.reshape(len(clips), -1), axis=0)) == len(clips)


def test_second_call_reads_the_cache(clips, tmp_path, computed, capsys):
    first = extract_features(clips, family="logmel", cache=tmp_path)
    assert len(computed) == len(clips)
    second = extract_features(clips, family="logmel", cache=tmp_path)
    assert len(computed) == len(clips)
    assert "(6 from the cache)" in capsys.readouterr().out
    np.testing.assert_array_equal(first, second)


def test_several_families_decode_each_clip_once(clips, tmp_path, computed):
    together = extract_features(clips, family=("logmel", "mfcc40"), cache=tmp_path / "a")
    assert len(computed) == len(clips) and list(together) == ["logmel", "mfcc40"]
    alone = extract_features(clips, family="logmel", cache=tmp_path / "b")
    np.testing.assert_array_equal(together["logmel"], alone)
    pd.testing.assert_frame_equal(
        together["mfcc40"], extract_features(clips, family="mfcc40", cache=tmp_path / "b")
    )


def test_a_setting_costs_only_the_families_that_depend_on_it(clips, tmp_path, computed):
    every = ("logmel", "mfcc", "mfcc40")
    extract_features(clips, family=every, cache=tmp_path)
    rows = set(tmp_path.rglob("??/*.npy"))
    for changed, again in (
        ({"n_mels": 32}, {"logmel"}),
        ({"range_db": 60.0}, {"logmel"}),
        ({"clip_s": 1.0}, {"logmel", "mfcc"}),
        ({"n_fft": 512}, set(every)),
    ):
        other = replace(SETTINGS, **changed)
        extract_features(clips, family=every, settings=other, cache=tmp_path)
        new = set(tmp_path.rglob("??/*.npy")) - rows
        assert {path.parents[1].name.split("-")[0] for path in new} == again, changed
        rows |= new


def test_frames_are_mapped_and_not_loaded(clips, tmp_path):
    for _ in range(2):
        found = extract_features(clips, family="logmel", cache=tmp_path)
        assert isinstance(found, np.memmap) and not found.flags.writeable


def test_a_stopped_extraction_is_carried_on(clips, tmp_path, computed):
    """What was done before a clip failed is there for the next call."""
    table = clips.reset_index(drop=True)
    broken = table.assign(path=[*table["path"][:-1], str(tmp_path / "missing.wav")])
    (tmp_path / "missing.wav").write_text("not yet")
    with pytest.raises(ValueError, match="missing.wav"):
        extract_features(broken, family="mfcc40", cache=tmp_path / "cache")
    done = len(computed) - 1
    assert done == len(clips) - 1
    extract_features(clips, family="mfcc40", cache=tmp_path / "cache")
    assert len(computed) == done + 2


_KILLED = """
import sys
import pandas as pd
from pathlib import Path
from helpers.features.extract import extract_features
table = pd.DataFrame({"path": sorted(map(str, Path(sys.argv[1]).iterdir()))})
extract_features(table, family="functionals", n_jobs=2, cache=Path(sys.argv[2]))
"""


def test_what_was_done_before_a_kill_is_not_done_again(tmp_path, computed):
    folder, cache = tmp_path / "clips", tmp_path / "cache"
    folder.mkdir()
    for seed in range(150):
        soundfile.write(folder / f"{seed}.wav", make_voice(seed, seconds=0.5), SAMPLE_RATE)
    process = subprocess.Popen(
        [sys.executable, "-c", _KILLED, str(folder), str(cache)], start_new_session=True
    )
    deadline = time.monotonic() + 120
    while len(list(cache.rglob("??/*.npy"))) < 20:
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGKILL)  # with the processes that it started
    process.wait()
    done = len(list(cache.rglob("??/[0-9a-f]*.npy")))
    assert 20 <= done < 150, "it was killed on the way"
    table = pd.DataFrame({"path": sorted(map(str, folder.iterdir()))})
    found = extract_features(table, family="functionals", n_jobs=1, cache=cache)
    assert len(computed) == 150 - done
    assert np.isfinite(found.to_numpy()).all() and found.shape == (150, 254)


def test_old_tables_go(clips, tmp_path):
    for n in range(1, 7):
        extract_features(clips[:n], family="mfcc40", cache=tmp_path)
    assert len(list(tmp_path.rglob("tables/*.npy"))) == 4
    assert len(list(tmp_path.rglob("??/*.npy"))) == len(clips)


def test_changed_setting_or_family_is_computed_again(clips, tmp_path, computed):
    extract_features(clips, family="mfcc40", cache=tmp_path)
    other = FeatureSettings(hop=SETTINGS.hop * 2)
    changed = extract_features(clips, family="mfcc40", settings=other, cache=tmp_path)
    extract_features(clips, family="vector162", cache=tmp_path)
    assert len(computed) == 3 * len(clips)
    again = extract_features(clips, family="mfcc40", cache=tmp_path)
    assert len(computed) == 3 * len(clips)
    assert not np.allclose(changed, again)


def test_moved_and_copied_clips_are_found_again(clips, tmp_path, computed):
    before = extract_features(clips, family="mfcc40", cache=tmp_path / "cache")
    moved = clips.assign(
        path=[shutil.copy(p, tmp_path / f"{i}.bin") for i, p in clips.path.items()]
    )
    after = extract_features(moved, family="mfcc40", cache=tmp_path / "cache")
    assert len(computed) == len(clips)
    pd.testing.assert_frame_equal(before, after)


def test_changed_recording_is_computed_again(clips, tmp_path, computed):
    path = shutil.copy(clips["path"].iloc[0], tmp_path / "take.wav")
    table = pd.DataFrame({"path": [path]})
    first = extract_features(table, family="mfcc40", cache=tmp_path / "cache")
    shutil.copy(clips["path"].iloc[1], path)
    second = extract_features(table, family="mfcc40", cache=tmp_path / "cache")
    assert len(computed) == 2 and not np.allclose(first, second)


def _save(values: np.ndarray) -> Callable[[Path], None]:
    return lambda path: np.save(path, values)


def _claim_too_much(path: Path) -> None:
    header = {"descr": "<f4", "fortran_order": False, "shape": (2**40,)}
    with path.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, header)
        file.write(bytes(160))


DAMAGES = {
    "empty": lambda path: path.write_bytes(b""),
    "text": lambda path: path.write_text("not an array"),
    "zip": lambda path: path.write_bytes(b"PK\x03\x04" + bytes(50)),
    "cut off": lambda path: path.write_bytes(path.read_bytes()[:-7]),
    "cut in the header": lambda path: path.write_bytes(path.read_bytes()[:40]),
    "claims too much": _claim_too_much,
    "another shape": _save(np.zeros(39, "float32")),
    "a matrix": _save(np.zeros((40, 1), "float32")),
    "NaN": _save(np.full(40, np.nan, "float32")),
    "words": _save(np.array(["a"] * 40)),
    "pickle": _save(np.array([{}] * 40, dtype=object)),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_row_is_rebuilt(damage, clips, tmp_path, computed):
    table = clips[:2]
    good = extract_features(table, family="mfcc40", cache=tmp_path)
    row, other = sorted(tmp_path.rglob("??/*.npy"))
    (whole,) = tmp_path.rglob("tables/*.npy")
    DAMAGES[damage](row)
    whole.unlink()
    rebuilt = extract_features(table, family="mfcc40", cache=tmp_path)
    pd.testing.assert_frame_equal(rebuilt, good, **TOLERANCE)
    assert len(computed) == 3
    assert np.load(row).shape == np.load(other).shape == (40,)  # and it is whole again
    assert extract_features(table, family="mfcc40", cache=tmp_path).equals(rebuilt)
    assert len(computed) == 3


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_table_is_put_together_again(damage, clips, tmp_path, computed):
    good = extract_features(clips, family="mfcc40", cache=tmp_path)
    (whole,) = tmp_path.rglob("tables/*.npy")
    DAMAGES[damage](whole)
    assert extract_features(clips, family="mfcc40", cache=tmp_path).equals(good)
    assert len(computed) == len(clips)
    np.testing.assert_array_equal(np.load(whole), good)


def test_damaged_column_names_are_rebuilt(clips, tmp_path):
    good = extract_features(clips, family="mfcc40", cache=tmp_path)
    (columns,) = tmp_path.rglob("columns.json")
    columns.write_text(columns.read_text()[:20])
    assert extract_features(clips, family="mfcc40", cache=tmp_path).equals(good)
    assert json.loads(columns.read_text()) == feature_names("mfcc40")


def test_cache_holds_no_leftovers(clips, tmp_path):
    extract_features(clips, family="mfcc40", cache=tmp_path)
    files = [path.name for path in tmp_path.rglob("*") if path.is_file()]
    assert sum(bool(re.fullmatch(r"[0-9a-f]{64}\.npy", name)) for name in files) == len(clips)
    assert sum(bool(re.fullmatch(r"[0-9a-f]{32}\.npy", name)) for name in files) == 1
    assert set(Path(name).suffix for name in files) <= {".npy", ".json"}
    assert not [name for name in files if name.startswith(".")]


def test_no_clips_give_an_empty_table(tmp_path):
    none = pd.DataFrame({"path": pd.Series([], dtype=str)})
    assert extract_features(none, family="logmel", cache=tmp_path).shape == (0, N_FRAMES, 64)
    assert extract_features(none, family="mfcc40", cache=tmp_path).shape == (0, 40)


def test_bad_clip_is_named(clips, tmp_path):
    broken = tmp_path / "broken.wav"
    broken.write_text("no sound")
    for path in (broken, tmp_path / "missing.wav"):
        with pytest.raises(ValueError, match=path.name):
            extract_features(pd.DataFrame({"path": [str(path)]}), family="mfcc40", cache=tmp_path)
    assert not list(tmp_path.rglob("*.npy"))


def _extract(table: pd.DataFrame, cache: Path) -> pd.DataFrame:
    return extract_features(table, family="mfcc40", n_jobs=1, cache=cache)


N_PARALLEL = 70


def test_processes_change_nothing(clips, tmp_path):
    """Two workers over clips enough for them, then two whole extractions at once into one cache."""
    from joblib import Parallel, delayed

    folder = tmp_path / "clips"
    folder.mkdir()
    for seed in range(N_PARALLEL):
        soundfile.write(folder / f"{seed}.wav", make_voice(seed, seconds=0.3), SAMPLE_RATE)
    table = pd.DataFrame({"path": sorted(map(str, folder.iterdir()))})

    serial = extract_features(table, family="mfcc40", n_jobs=1, cache=tmp_path / "serial")
    parallel = extract_features(table, family="mfcc40", n_jobs=2, cache=tmp_path / "parallel")
    pd.testing.assert_frame_equal(serial, parallel, **TOLERANCE)

    shared = tmp_path / "shared"
    for found in Parallel(n_jobs=2)(delayed(_extract)(table, shared) for _ in range(2)):
        pd.testing.assert_frame_equal(parallel, found, **TOLERANCE)
    assert len(list(shared.rglob("??/*.npy"))) == N_PARALLEL


@pytest.mark.corpora
def test_real_speech_gives_human_pitch(real_data):
    from helpers.corpora import load_corpora

    clips = load_corpora("ravdess").groupby("gender").head(4)
    rows = clips["path"].map(lambda p: compute_features(load_audio(p), family="functionals"))
    table = pd.DataFrame(rows.tolist(), index=clips.index)
    assert np.isfinite(table.to_numpy()).all()
    pitch = table["f0_mean"].groupby(clips["gender"]).mean()
    assert 80 < pitch["male"] < pitch["female"] < 400
