"""The formulas against librosa's own calls, and the batch, cache and order around them."""

from __future__ import annotations

import hashlib
import inspect
import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import librosa
import numpy as np
import pandas as pd
import pytest
import soundfile

from helpers.errors import UserError
from helpers.features import extract as features
from helpers.features import families
from helpers.features import voice as voice_module
from helpers.features.extract import (
    compute_features,
    extract_features,
    feature_names,
    fit_clip,
)
from helpers.features.families import FAMILIES, FRAME_FAMILIES, FeatureSettings
from helpers.sound import audio, decoders
from helpers.sound.audio import SAMPLE_RATE, AudioError, load_audio

SETTINGS = FeatureSettings()
#: What a direct call of librosa must be told to cut the frames that the project cuts.
FRAMES = {"n_fft": SETTINGS.n_fft, "hop_length": SETTINGS.hop, "pad_mode": "reflect"}
N_FRAMES = SETTINGS.n_frames
RATE = {"sr": SAMPLE_RATE}

#: One thread or two in a matrix product changes the last bit.
TOLERANCE = {"rtol": 1e-5, "atol": 1e-4}


def make_tone(f0: float, *, seconds: float = 1.0) -> np.ndarray:
    """A saw."""
    time = np.arange(round(seconds * SAMPLE_RATE)) / SAMPLE_RATE
    orders = range(1, int(7000 / f0) + 1)
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


@pytest.mark.parametrize(
    ("family", "n"),
    [("mfcc40", 40), ("vector162", 162), ("vector180", 180), ("functionals", 254), ("prosody", 17)],
)
def test_columns_are_named_once(family, n, voice):
    names = feature_names(family)
    assert len(names) == len(set(names)) == n
    assert list(compute_features(voice, family=family)) == names
    assert all(re.fullmatch(r"[a-z0-9]+(_[a-z0-9]+)*", name) for name in names)


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
            assert values.shape == (N_FRAMES, SETTINGS.n_bins(family))


@pytest.mark.parametrize("gain", [0.1, 0.5, 8])
def test_log_mel_does_not_hear_the_recording_level(gain, voice):
    quiet = compute_features((gain * voice).astype("float32"), family="logmel")
    np.testing.assert_allclose(quiet, compute_features(voice, family="logmel"), atol=1e-3)


def test_unknown_family_is_named(voice, clips):
    for call in (
        lambda: compute_features(voice, family="chromagram"),
        lambda: extract_features(clips, family="chromagram"),
    ):
        with pytest.raises(UserError, match="'chromagram': expected one of logmel, mfcc"):
            call()


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


def test_second_call_reads_the_cache(clips, tmp_path, computed, caplog):
    caplog.set_level("INFO")
    first = extract_features(clips, family="logmel", cache=tmp_path)
    assert len(computed) == len(clips)
    second = extract_features(clips, family="logmel", cache=tmp_path)
    assert len(computed) == len(clips)
    assert "(6 from the cache)" in caplog.text
    np.testing.assert_array_equal(first, second)
    for frames in (first, second):
        assert isinstance(frames, np.memmap) and not frames.flags.writeable


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


def test_a_stopped_extraction_is_carried_on(clips, tmp_path, computed):
    """What was done before a clip failed is there for the next call."""
    bad = tmp_path / "bad.wav"
    bad.write_text("not yet")
    broken = clips.assign(path=[*clips["path"][:-1], str(bad)])
    with pytest.raises(AudioError, match="bad.wav"):
        extract_features(broken, family="mfcc40", cache=tmp_path / "cache")
    extract_features(clips, family="mfcc40", cache=tmp_path / "cache")
    assert len(computed) == len(clips) + 1


@pytest.mark.parametrize(
    ("module", "old", "new", "is_new"),
    [
        (audio, 'quality="VHQ"', 'quality="HQ"', True),
        (decoders, 'dtype="float32", always_2d', 'dtype="float64", always_2d', True),
        (decoders, "_OGG_PAGE_MAX = 27", "_OGG_PAGE_MAX = 28", True),
        (families, "n_mfcc=N_MFCC", "n_mfcc=13", True),
        (voice_module, "_VOICING = 0.45", "_VOICING = 0.5", True),
        (audio, "# Chunk by chunk it gives", "# It gives", False),
        (families, "Power of the STFT, shape", "The power, shape", False),
        (decoders, "    done = 0\n", "\n\n    done = 0\n", False),
    ],
)
def test_code_is_in_the_key_and_words_are_not(module, old, new, is_new, monkeypatch):
    before = features._hash_formulas()
    get_source = inspect.getsource

    def edited(part) -> str:
        source = get_source(part)
        assert part is not module or old in source
        return source.replace(old, new) if part is module else source

    monkeypatch.setattr(inspect, "getsource", edited)
    assert (features._hash_formulas.__wrapped__() != before) == is_new


@pytest.mark.parametrize("library", ["av", "librosa", "soundfile", "soxr"])
def test_another_version_of_a_library_is_computed_again(
    library, clips, tmp_path, computed, monkeypatch
):
    extract_features(clips, family="mfcc40", cache=tmp_path)
    version = features.version
    monkeypatch.setattr(features, "version", lambda name: version(name) + "1" * (name == library))
    extract_features(clips, family="mfcc40", cache=tmp_path)
    assert len(computed) == 2 * len(clips)


def test_hashes_in_the_table_are_trusted_and_tested_where_a_file_is_read(clips, tmp_path):
    listed = clips.assign(path=[shutil.copy(path, tmp_path) for path in clips["path"]])
    hashes = [hashlib.sha256(Path(path).read_bytes()).hexdigest() for path in listed["path"]]
    listed = listed.assign(sha256=hashes)
    cache = tmp_path / "cache"
    first = extract_features(listed[1:], family="mfcc40", cache=cache)
    for path in listed["path"][1:]:
        Path(path).unlink()  # what is in the cache is not read again
    assert extract_features(listed[1:], family="mfcc40", cache=cache).equals(first)
    unlisted = listed[1:].assign(path=clips["path"][1:], sha256=[None, *hashes[2:]])
    assert extract_features(unlisted, family="mfcc40", cache=cache).equals(first)

    shutil.copy(clips["path"].iloc[1], listed["path"].iloc[0])
    with pytest.raises(UserError, match="d.wav: the recording has changed since it was listed"):
        extract_features(listed[:1], family="mfcc40", cache=cache)


DAMAGES = {
    "empty": lambda path: path.write_bytes(b""),
    "text": lambda path: path.write_text("not an array"),
    "cut off": lambda path: path.write_bytes(path.read_bytes()[:-7]),
    "another shape": lambda path: np.save(path, np.zeros(39, "float32")),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_what_cannot_be_read_is_made_again(damage, clips, tmp_path, computed):
    table = clips[:2]
    good = extract_features(table, family="mfcc40", cache=tmp_path)
    row, _ = sorted(tmp_path.rglob("??/*.npy"))
    DAMAGES[damage](row)
    for _ in range(2):
        rebuilt = extract_features(table, family="mfcc40", cache=tmp_path)
        pd.testing.assert_frame_equal(rebuilt, good, **TOLERANCE)
        assert len(computed) == 3


def test_damaged_column_names_are_rebuilt(clips, tmp_path):
    good = extract_features(clips, family="mfcc40", cache=tmp_path)
    (columns,) = tmp_path.rglob("columns.json")
    columns.write_text(columns.read_text()[:20])
    assert extract_features(clips, family="mfcc40", cache=tmp_path).equals(good)
    assert json.loads(columns.read_text()) == feature_names("mfcc40")


def test_no_clips_give_an_empty_table(tmp_path):
    none = pd.DataFrame({"path": pd.Series([], dtype=str)})
    assert extract_features(none, family="logmel", cache=tmp_path).shape == (0, N_FRAMES, 64)
    assert extract_features(none, family="mfcc40", cache=tmp_path).shape == (0, 40)
