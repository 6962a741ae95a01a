"""From recordings to a table: one row per file, whatever the file, whatever its company."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile
from tiny import CLASSES, SETTINGS, build_tiny_model, tone, voice, write_voice

from helpers.errors import UserError
from helpers.evaluation.comparison import compare_with_labels
from helpers.models import prediction
from helpers.models.builders import build_cnn, build_lstm, with_front_end
from helpers.models.modelfile import apply_temperature, make_card, save_model, update_card
from helpers.models.prediction import (
    Predictor,
    find_model,
    list_audio,
    predict_side,
    to_records,
)
from helpers.runs import PROJECT_ROOT
from helpers.sound.audio import SAMPLE_RATE, AudioError, fit_clip, load_audio
from helpers.sound.disturbances import make_music

COLUMNS = ["file", "start_s", "end_s", "emotion", "confidence", "sure", *CLASSES, "reason", "error"]


@pytest.fixture(scope="module")
def model_path(tmp_path_factory) -> Path:
    card = make_card(name="tiny", classes=CLASSES, settings=SETTINGS, temperature=1.3)
    path = tmp_path_factory.mktemp("model") / "model.keras"
    return save_model(build_tiny_model(), path, card)


@pytest.fixture(scope="module")
def predictor(model_path) -> Predictor:
    return Predictor(model_path)


@pytest.fixture
def sounds(tmp_path: Path) -> list[Path]:
    """Voices of four heights and lengths: three are answered alike, one not."""
    return [
        write_voice(tmp_path / f"{hz}.wav", hz, duration_s=duration_s)
        for hz, duration_s in ((3000, 0.3), (150, 0.9), (800, 1.4), (4500, 1.0))
    ]


@pytest.fixture
def bad(tmp_path: Path) -> list[Path]:
    (tmp_path / "text.wav").write_text("no sound")
    (tmp_path / "empty.wav").touch()
    soundfile.write(tmp_path / "silent.wav", np.zeros(SAMPLE_RATE), SAMPLE_RATE)
    (tmp_path / "cut.wav").write_bytes(write_voice(tmp_path / "cut.wav").read_bytes()[:60])
    names = ("text.wav", "empty.wav", "silent.wav", "cut.wav", "none.wav")
    return [*(tmp_path / name for name in names), tmp_path]


# ---------------------------------------------------------------------------- the door


@pytest.mark.parametrize(
    "y", [np.zeros(16_000), np.zeros(0), np.full(16_000, np.nan), voice()[:10], np.ones((9, 9, 9))]
)
def test_what_is_no_sound_gets_no_emotion(predictor, y):
    with pytest.raises(AudioError, match="mine: found "):
        predictor.predict_audio(y, name="mine")


def test_other_shapes_and_types_of_one_sound_get_its_answer(predictor):
    y = voice(800)
    one = predictor.predict_audio(y)[CLASSES].to_numpy()
    for same in ((y * 32768).astype("int16"), np.stack([y, y]), np.stack([y, y], 1), list(y)):
        np.testing.assert_allclose(predictor.predict_audio(same)[CLASSES], one, atol=1e-3)


def test_one_path_is_one_file_and_one_channel_may_be_chosen(predictor, sounds, tmp_path):
    assert predictor.predict_files(str(sounds[0]))["file"].tolist() == [str(sounds[0])]
    assert len(predictor.predict_files(sounds[0])) == 1
    low, high = voice(150), voice(3000)
    soundfile.write(tmp_path / "two.wav", np.stack([low, high], 1), SAMPLE_RATE, subtype="FLOAT")
    for channel, y in enumerate((low, high)):
        found = predictor.predict_files(tmp_path / "two.wav", channel=channel)
        np.testing.assert_allclose(found[CLASSES], predictor.predict_audio(y)[CLASSES], atol=1e-6)


def test_patterns_that_no_shell_expanded(sounds, tmp_path):
    assert list_audio([str(tmp_path / "*.wav")]) == sorted(sounds)
    assert list_audio([str(tmp_path.parent / "**" / "3000.wav")]).count(sounds[0]) == 1
    odd = write_voice(tmp_path / "[1].wav")
    assert list_audio([odd]) == [odd]
    with pytest.raises(UserError, match="a pattern that matches no audio files"):
        list_audio([tmp_path / "*.mp3"])


# ---------------------------------------------------------------------------- over time


def test_windows_follow_what_is_heard(predictor, mfcc_path):
    low, high, silence = voice(150, duration_s=4.0), voice(3000, duration_s=4.0), np.zeros(64_000)
    y = np.concatenate([low, silence, high]).astype("float32")
    found = predictor.follow_audio(y)[1]
    half = SETTINGS.clip_s / 2
    np.testing.assert_allclose(found["start_s"], np.arange(len(found)) * half)
    assert found["end_s"].iloc[-1] == pytest.approx(12.0)
    ends = [predictor.predict_audio(wave)["emotion"][0] for wave in (low, high)]
    assert [found["emotion"].iloc[0], found["emotion"].iloc[-1]] == ends
    quiet = found[(found["start_s"] > 4) & (found["end_s"] < 8)]
    assert len(quiet) and (quiet["emotion"] == "").all() and not quiet["sure"].any()
    assert quiet[CLASSES].isna().all(axis=None)
    one = predictor.follow_audio(voice(800, duration_s=0.5))[1]
    assert len(one) == 1 and one["end_s"][0] == 0.5
    # The whole clip in one row, as in training.
    assert Predictor(mfcc_path).follow_audio(y)[1]["end_s"].tolist() == [12.0]


# ---------------------------------------------------------------------------- the table


def test_one_row_per_file_in_the_order_given(predictor, sounds):
    table = predictor.predict_files(sounds)
    assert table.columns.tolist() == COLUMNS
    assert table["file"].tolist() == [str(path) for path in sounds]
    np.testing.assert_allclose(table["end_s"], [0.3, 0.9, 1.4, 1.0])
    assert (table["start_s"] == 0).all() and (table["error"] == "").all()
    p = table[CLASSES].to_numpy()
    np.testing.assert_allclose(p.sum(axis=1), 1)
    assert table["emotion"].tolist() == [CLASSES[i] for i in p.argmax(axis=1)]
    np.testing.assert_array_equal(table["confidence"], p.max(axis=1))
    # A card that says nothing of it: below one half, the rest together is likelier.
    np.testing.assert_array_equal(table["sure"], p.max(axis=1) >= 0.5)
    assert len(set(table["emotion"])) > 1  # this model tells some of these sounds apart
    backwards = predictor.predict_files(reversed(sounds))
    pd.testing.assert_frame_equal(backwards[::-1].reset_index(drop=True), table)


def test_figures_are_those_of_the_model_with_the_card_temperature(predictor, sounds):
    table = predictor.predict_files(sounds)
    fitted = np.stack([fit_clip(load_audio(path), SETTINGS.n_samples) for path in sounds])
    expected = apply_temperature(predictor.model(fitted).numpy(), 1.3)
    np.testing.assert_allclose(table[CLASSES], expected, atol=1e-6)
    assert not np.allclose(table[CLASSES], predictor.model(fitted).numpy(), atol=1e-3)


def test_one_waveform_gives_the_row_of_its_file(predictor, sounds):
    table = predictor.predict_files(sounds)
    for place, path in enumerate(sounds):
        alone = predictor.predict_audio(load_audio(path), name=str(path))
        pd.testing.assert_frame_equal(
            alone, table.iloc[[place]].reset_index(drop=True), check_exact=False, atol=1e-6, rtol=0
        )
    y = load_audio(sounds[0])
    one = predictor.predict_audio(y)
    assert one["file"].tolist() == [""]
    pd.testing.assert_frame_equal(predictor.predict_audio(y.astype("float64")), one)


@pytest.mark.parametrize("build", [build_cnn, build_lstm])
def test_company_changes_nothing_and_the_graph_is_drawn_once(build, sounds, tmp_path):
    body = build((SETTINGS.n_frames, SETTINGS.n_mels), len(CLASSES))
    card = make_card(name="tiny", classes=CLASSES, settings=SETTINGS)
    path = save_model(with_front_end(body, SETTINGS), tmp_path / "model.keras", card)
    predictor = Predictor(path)
    many = predictor.predict_files(sounds * 17)[CLASSES].to_numpy()  # batches and chunks
    for n in (1, 2, 3, 4, 7, 16, 17):
        files = (sounds * 5)[:n]
        few = predictor.predict_files(files)[CLASSES].to_numpy()
        np.testing.assert_allclose(few, many[:n], rtol=0, atol=1e-6)
    assert predictor._call.experimental_get_tracing_count() == 1


def test_a_chunk_may_hold_few_windows(predictor, sounds, bad, monkeypatch):
    files = [*sounds, *bad] * 3
    whole = predictor.predict_files(files)
    monkeypatch.setattr(prediction, "_CHUNK", 3)
    pieces = predictor.predict_files(files)
    pd.testing.assert_frame_equal(pieces, whole, check_exact=False, atol=1e-6, rtol=0)


def test_the_card_says_when_it_is_not_sure(model_path, predictor, sounds, tmp_path):
    confidence = predictor.predict_files(sounds)["confidence"]
    middle = float(confidence.sort_values().iloc[2])
    strict = Predictor(update_card(model_path, tmp_path / "strict.keras", threshold=middle))
    found = strict.predict_files(sounds)
    assert found["sure"].tolist() == (confidence >= middle).tolist() and found["sure"].sum() == 2
    assert (found["emotion"] != "").all()  # the likeliest is still named


def test_broken_files_are_rows_with_their_error(predictor, sounds, bad):
    files = [bad[0], sounds[0], *bad[1:4], sounds[1], *bad[4:]]
    table = predictor.predict_files(files)
    assert table["file"].tolist() == [str(path) for path in files]
    broken = table["file"].isin([str(path) for path in bad])
    assert (table.loc[~broken, "error"] == "").all()
    for row in table[broken].itertuples():
        assert row.error.startswith(f"{row.file}: found ")
        assert row.emotion == ""
    assert not table.loc[broken, "sure"].any()
    assert table.loc[broken, ["confidence", "end_s", *CLASSES]].isna().all(axis=None)
    good = predictor.predict_files(sounds[:2])
    np.testing.assert_allclose(table.loc[~broken, CLASSES], good[CLASSES], atol=1e-6)


# ---------------------------------------------------------------------------- windows


@pytest.mark.parametrize("n", [2.01, 3, 3.51, 4.99])
def test_windows_cover_a_long_recording(predictor, n):
    found = predictor.follow_audio(voice(duration_s=n * SETTINGS.clip_s))[1]
    assert found["end_s"].iloc[-1] == pytest.approx(n, abs=1e-3)
    # Half overlaps: each starts half a window after the one before, and none is a stub.
    np.testing.assert_allclose(found["start_s"], 0.5 * np.arange(len(found)))
    assert (found["end_s"] - found["start_s"]).between(0.5, 1.0).all()


@pytest.mark.parametrize("n", [0.31, 1, 2])
def test_a_short_recording_is_one_window(predictor, n):
    y = voice(duration_s=n)
    files, windows = predictor.follow_audio(y)
    assert len(windows) == 1 and windows["end_s"][0] == pytest.approx(n)
    expected = predictor.probabilities(fit_clip(y, SETTINGS.n_samples)[None])
    for table in (files, windows):
        np.testing.assert_allclose(table[CLASSES], expected, atol=1e-6)


def test_long_recording_is_the_mean_of_its_windows(predictor):
    low, high = voice(150, duration_s=3.0), voice(3000, duration_s=3.0)
    files, windows = predictor.follow_audio(np.concatenate([low, high]))
    assert len(files) == 1 and files.loc[0, "end_s"] == 6.0 and len(windows) == 11
    np.testing.assert_allclose(files.loc[0, CLASSES].astype(float), windows[CLASSES].mean())
    ends = windows[CLASSES].iloc[[0, -1]].to_numpy()
    assert np.abs(files[CLASSES].to_numpy() - ends).max(axis=1).min() > 0.02  # neither half alone


def test_windows_without_speech_do_not_vote(predictor):
    y = voice(150, duration_s=3.0)
    hum = tone(50, duration_s=10.0)
    files, windows = predictor.follow_audio(np.concatenate([y, hum]))
    assert files["reason"].tolist() == [""] and (windows["reason"] == "no speech").sum() > 15
    alone = predictor.predict_audio(y)
    np.testing.assert_allclose(files[CLASSES], alone[CLASSES], atol=0.15)


# ---------------------------------------------------------------------------- no emotion


NOISE = np.random.default_rng(0).normal(0, 0.1, 3 * SAMPLE_RATE).astype("float32")


@pytest.mark.parametrize(
    ("y", "reason"),
    [
        (NOISE, "no speech"),
        (tone(50, duration_s=2.0), "no speech"),
        (make_music(3 * SAMPLE_RATE, np.random.default_rng(0)) / 10, "no speech"),
        (1e-3 * voice(duration_s=2.0), "too quiet"),
        (np.clip(9 * voice(duration_s=2.0), -1, 1), "clipped"),
        (voice(duration_s=0.2), "too short"),
    ],
    ids=["noise", "hum", "music", "quiet", "clipped", "short"],
)
def test_a_reason_instead_of_an_emotion(predictor, y, reason):
    files, windows = predictor.follow_audio(y)
    for table in (files, windows):
        assert set(table["reason"]) == {reason} and set(table["emotion"]) == {""}
        assert table[["confidence", *CLASSES]].isna().all(axis=None) and not table["sure"].any()
    scored = predictor.predict_waves([y])  # nothing is left out of a score
    assert scored["emotion"][0] in CLASSES and scored["reason"].tolist() == [""]


def test_published_clips_are_speech(predictor, corpora_root):
    paths = sorted(corpora_root.glob("ravdess/Actor_0*/03-01-*-01-01-01-0*"))
    assert len(paths) > 50
    assert (predictor.predict_files(paths)["reason"] == "").all()


def test_a_recording_over_the_limit_is_refused(predictor, sounds):
    table = predictor.predict_files(sounds, longest_s=1.2)
    assert (table["error"] != "").tolist() == [False, False, True, False]
    assert "found more than 0.02 minutes of sound" in table["error"][2]


def test_records_are_json(predictor, sounds, bad):
    table = predictor.predict_files([sounds[0], bad[0]])
    good, broken = json.loads(json.dumps(to_records(table), allow_nan=False))
    assert good["emotion"] == table["emotion"][0] and good["sure"] in (True, False)
    assert good[CLASSES[0]] == table[CLASSES[0]][0]
    assert broken["confidence"] is None and broken["error"] == table["error"][1]


def test_an_open_file_is_answered_under_its_name(predictor, sounds):
    with open(sounds[1], "rb") as file:
        pd.testing.assert_frame_equal(
            predictor.predict_files(file), predictor.predict_files(sounds[1])
        )


# ---------------------------------------------------------------------------- other inputs


@pytest.fixture(scope="module")
def mfcc_path(tmp_path_factory) -> Path:
    from keras import Input, Model, layers

    inputs = Input((40,))
    model = Model(inputs, layers.Dense(3, "softmax")(layers.Rescaling(1e-2)(inputs)))
    card = make_card(name="mfcc", input="mfcc40", classes=CLASSES, settings=SETTINGS)
    return save_model(model, tmp_path_factory.mktemp("mfcc") / "m.keras", card)


def test_models_on_clip_features_take_recordings_too(mfcc_path, sounds, bad):
    table = Predictor(mfcc_path).predict_files([*sounds, *bad])
    assert table.columns.tolist() == COLUMNS
    assert (table["error"] == "").tolist() == [True] * len(sounds) + [False] * len(bad)


def test_a_family_that_has_other_columns_by_now_is_refused(mfcc_path, tmp_path):
    path = update_card(mfcc_path, tmp_path / "m.keras", input="vector162")
    with pytest.raises(UserError, match="takes 40 columns, and vector162 has 162"):
        Predictor(path).predict_audio(voice())


def test_synthetic_models_say_so(model_path, predictor, tmp_path):
    assert predictor.is_synthetic is False
    path = update_card(model_path, tmp_path / "model.keras", synthetic=True)
    assert Predictor(path).is_synthetic is True


# ---------------------------------------------------------------------------- finding things


def test_find_model_takes_the_shipped_one_then_the_latest(tmp_path, monkeypatch):
    monkeypatch.setenv("SER_OUTPUTS", str(tmp_path))
    assert find_model() == PROJECT_ROOT / "outputs/pretrained/model.keras"
    monkeypatch.setattr(prediction, "SHIPPED", tmp_path / "none.keras")
    with pytest.raises(UserError, match="train one with `ser run`"):
        find_model()
    for age, name in enumerate(("b", "c", "a")):
        path = tmp_path / name / "model.keras"
        path.parent.mkdir()
        path.touch()
        os.utime(path, (1e9 - age, 1e9 - age))
    assert find_model() == tmp_path / "b" / "model.keras"


def test_list_audio_opens_folders_and_keeps_files(sounds, bad, tmp_path):
    assert list_audio([sounds[1], "none.wav"]) == [sounds[1], Path("none.wav")]
    listed = list_audio([sounds[2], tmp_path])
    assert listed[0] == sounds[2] and set(sounds) <= set(listed[1:])
    (tmp_path / "nothing").mkdir()
    with pytest.raises(UserError, match="nothing: a folder without audio files"):
        list_audio([sounds[0], tmp_path / "nothing"])


# ---------------------------------------------------------------------------- the truth


@pytest.fixture
def answers(sounds) -> pd.DataFrame:
    """A table as :meth:`Predictor.predict_files` makes it; the last file could not be read."""
    said = ["sad", "angry", "sad", ""]
    errors = ["", "", "", "cut.wav: found half a file"]
    table = pd.DataFrame({"file": [str(p) for p in sounds], "emotion": said, "error": errors})
    return table.assign(reason="")


def test_however_a_path_is_written(answers, sounds, tmp_path, monkeypatch):
    (tmp_path / "sub").mkdir()
    (tmp_path / "link").symlink_to(tmp_path, target_is_directory=True)
    (tmp_path / "sub" / "labels.csv").write_text("path,emotion\n../3000.wav,sad\n../150.wav,sad\n")
    monkeypatch.chdir(tmp_path / "sub")
    written = ["../3000.wav", str(tmp_path / "link" / "150.wav")]
    table = answers[:2].assign(file=written)
    clips, notes = compare_with_labels(table, "labels.csv", CLASSES)
    assert clips["file"].tolist() == written and notes == []


def test_labels_are_joined_by_file_and_what_cannot_be_scored_is_noted(answers, sounds, tmp_path):
    labels = tmp_path / "labels.csv"
    labels.write_text("path,emotion,speaker\n4500.wav,sad,a\n800.wav,SAD,b\n3000.wav,boredom,b\n")
    clips, notes = compare_with_labels(answers, labels, CLASSES)
    speaker = f"{tmp_path.name}-b"  # a list called labels.csv has the name of its folder
    assert clips.to_numpy().tolist() == [[str(sounds[2]), "sad", "sad", speaker]]
    assert notes == [
        f"1 files are not listed in {labels}: {sounds[1]}",
        "1 files have an emotion that the model does not know: boredom",
    ]


def test_one_side_of_a_split_beside_its_truth(predictor, sounds):
    clips = pd.DataFrame(
        {
            "path": [str(path) for path in sounds],
            "corpus": "own",
            "speaker": ["own-a", "own-b", "own-a", "own-b"],
            "gender": "",
            "intensity": "",
            "emotion": ["sad", "angry", "angry", "sad"],
            "random-80-20": ["test", "train", "test", "validation"],
        }
    )
    table = predict_side(predictor, clips, "random-80-20", "test")
    assert table["path"].tolist() == [str(sounds[0]), str(sounds[2])]
    assert table["emotion"].tolist() == ["sad", "angry"]  # the truth, not the answer
    alone = predictor.predict_files(table["path"])
    assert table["predicted"].tolist() == alone["emotion"].tolist()
    np.testing.assert_array_equal(table[CLASSES], alone[CLASSES])
