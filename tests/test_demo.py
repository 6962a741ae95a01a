"""The demo corpus: complete, the same every time, spoken as its rules say, made whole or not."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import librosa
import numpy as np
import pandas as pd
import pytest
import soundfile
from sklearn.metrics import recall_score
from sklearn.model_selection import LeaveOneGroupOut, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from helpers.columns import UTTERANCES
from helpers.corpora.demo import corpus as demo
from helpers.corpora.demo import espeak as _espeak
from helpers.corpora.demo import shaping as _shaping
from helpers.errors import UserError

_EMOTIONS = [emotion for emotion in demo.PROSODY if emotion != "neutral"]


@pytest.fixture(scope="session")
def table(tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    start = time.perf_counter()
    table = demo.CORPUS.load(tmp_path_factory.mktemp("corpora") / "demo").clips
    print(f"demo corpus made in {time.perf_counter() - start:.1f} s")
    return table


@pytest.fixture(scope="session")
def measured(table: pd.DataFrame) -> pd.DataFrame:
    """What the audio of each clip says about pitch, tempo, loudness and brightness."""
    return pd.concat([table, pd.DataFrame([_measure(path) for path in table["path"]])], axis=1)


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """A corpus of 40 clips, for what does not depend on its size."""
    monkeypatch.setattr(demo, "_CLIPS", dict(list(demo._CLIPS.items())[:40]))


_FEW = "from helpers.corpora import demo; demo._CLIPS = dict(list(demo._CLIPS.items())[:{n}]);"


def _measure(path: str) -> dict:
    y, sr = soundfile.read(path, dtype="float32")
    speech, _ = librosa.effects.trim(y, top_db=35, frame_length=512, hop_length=128)
    f0 = librosa.yin(speech, fmin=50, fmax=500, sr=sr, frame_length=1024, hop_length=256)
    rms = librosa.feature.rms(y=speech, frame_length=1024, hop_length=256)[0]
    pitch_st = 12 * np.log2(f0[rms > 0.25 * rms.max()])
    power = np.abs(np.fft.rfft(speech)) ** 2
    hz = np.fft.rfftfreq(len(speech), 1 / sr)
    bright = power[(hz > 2000) & (hz < 5000)].sum() / power[(hz > 100) & (hz < 1000)].sum()
    return {
        "seconds": len(y) / sr,
        "spoken_s": len(speech) / sr,
        "pitch_st": np.median(pitch_st),
        # Quartiles: the rare octave error of the pitch tracker leaves them alone.
        "pitch_range_st": np.subtract(*np.percentile(pitch_st, [75, 25])),
        "level_db": 10 * np.log10(np.mean(speech**2)),
        "bright_db": 10 * np.log10(bright),
        "peak": np.abs(y).max(),
        "mfcc": librosa.feature.mfcc(y=y, sr=sr, n_mfcc=20).mean(axis=1),
    }


def _shift(measured: pd.DataFrame, column: str) -> pd.Series:
    """Mean difference to the neutral clip of the same voice and word, an emotion a row."""
    wide = measured.pivot_table(index=["speaker", "text"], columns="emotion", values=column)
    return wide.sub(wide["neutral"], axis=0).mean()


# ---- what is in it


def test_every_voice_says_every_word_in_every_emotion(table: pd.DataFrame) -> None:
    assert list(table.columns) == UTTERANCES
    assert len(table) == demo.CORPUS.n_clips == 8 * 7 * 10
    assert len(table.drop_duplicates(["speaker", "emotion", "text"])) == len(table)
    assert table.groupby("gender")["speaker"].nunique().to_dict() == {"female": 4, "male": 4}
    assert set(table["language"]) == {"en"} and set(table["channel"]) == {"speech"}
    assert set(table["corpus"]) == {"demo"}


def test_it_says_that_it_is_synthetic(table: pd.DataFrame) -> None:
    stamp = json.loads((Path(table.loc[0, "path"]).parent / demo.STAMP).read_text())
    assert stamp["synthetic"] is True and stamp["seed"] == 0 and stamp["espeak_ng"]
    assert "synthetic" in demo.CORPUS.title and "nothing about real speech" in demo.CORPUS.title
    assert demo.CORPUS.generated


def test_every_format_is_there_and_tells_no_label(table: pd.DataFrame) -> None:
    suffix = table["path"].map(lambda path: Path(path).suffix)
    assert suffix.value_counts().to_dict() == {".wav": 504, ".flac": 19, ".ogg": 19, ".mp3": 18}
    for rare in (".flac", ".ogg", ".mp3"):
        for label in ("emotion", "speaker"):
            counts = table[suffix == rare][label].value_counts()
            assert len(counts) == table[label].nunique() and counts.isin([2, 3]).all()
    for path, end in zip(table["path"], suffix, strict=True):
        info = soundfile.info(path)
        assert (info.format, info.samplerate, info.channels) == (end[1:].upper(), 16_000, 1)


def test_levels_and_durations_are_those_of_speech(measured: pd.DataFrame) -> None:
    assert measured["peak"].max() < 0.95
    assert measured["level_db"].between(-45, -12).all()
    assert measured["seconds"].between(0.7, 2.5).all()


# ---- the same every time


def test_another_process_makes_the_same_bytes(table: pd.DataFrame, tmp_path: Path) -> None:
    code = f"from helpers.corpora import demo; demo.CORPUS.load({str(tmp_path / 'demo')!r})"
    environment = {**os.environ, "PYTHONHASHSEED": "7"}
    subprocess.run([sys.executable, "-c", code], check=True, env=environment)
    for path in map(Path, table["path"]):
        assert (tmp_path / "demo" / path.name).read_bytes() == path.read_bytes(), path.name


def test_an_ogg_file_stays_a_valid_one(tmp_path: Path) -> None:
    tone = 0.3 * np.sin(np.arange(16_000) / 20)
    soundfile.write(tmp_path / "plain.ogg", tone, 16_000)
    plain = (tmp_path / "plain.ogg").read_bytes()
    page = bytearray(plain[: 27 + plain[26] + sum(plain[27 : 27 + plain[26]])])
    checksum, page[22:26] = int.from_bytes(page[22:26], "little"), bytes(4)
    assert _shaping._ogg_checksum(page) == checksum
    _shaping.write_clip(tmp_path / "ours.ogg", tone, 16_000)
    decoded = [soundfile.read(tmp_path / name)[0] for name in ("plain.ogg", "ours.ogg")]
    np.testing.assert_array_equal(*decoded)


@pytest.mark.usefixtures("few")
def test_another_seed_makes_another_corpus_and_stays(tmp_path: Path) -> None:
    demo.make_demo(tmp_path / "demo")
    first = {path.name: path.read_bytes() for path in (tmp_path / "demo").glob("v*")}
    demo.make_demo(tmp_path / "demo", seed=1)
    second = {path.name: path.read_bytes() for path in (tmp_path / "demo").glob("v*")}
    assert first.keys() == second.keys() and len(first) == 40
    assert all(first[name] != second[name] for name in first)
    demo.CORPUS.load(tmp_path / "demo")
    assert json.loads((tmp_path / "demo" / demo.STAMP).read_text())["seed"] == 1


# ---- spoken as the rules say


@pytest.mark.parametrize("emotion", _EMOTIONS)
def test_the_audio_follows_the_prosody_table(measured: pd.DataFrame, emotion: str) -> None:
    rule = demo.PROSODY[emotion]
    # Semitones and dB are nearly the table's own: expression is 0.8 to 1.15, and habits average.
    assert _shift(measured, "pitch_st")[emotion] == pytest.approx(rule.pitch_st, abs=1.6)
    assert np.sign(_shift(measured, "pitch_st")[emotion]) == np.sign(rule.pitch_st)
    assert _shift(measured, "level_db")[emotion] == pytest.approx(rule.level_db, abs=2)
    assert np.sign(_shift(measured, "spoken_s")[emotion]) == np.sign(1 - rule.rate)
    assert np.sign(_shift(measured, "pitch_range_st")[emotion]) == np.sign(rule.pitch_range - 1)


def test_the_order_of_emotions_is_the_tables(measured: pd.DataFrame) -> None:
    table = pd.DataFrame({name: vars(rule) for name, rule in demo.PROSODY.items()}).T
    for field, column, sign in (
        ("rate", "spoken_s", -1),
        ("pitch_st", "pitch_st", 1),
        ("level_db", "level_db", 1),
        ("tilt_db", "bright_db", 1),
    ):
        wanted, heard = table[field].astype(float), sign * _shift(measured, column)
        assert wanted.corr(heard, method="spearman") > 0.85, field


def _pitch_of(ending: str) -> tuple[float, float]:
    """Pitch in Hz at the start of the last word's end, and at its very end."""
    with _espeak.open_synthesizer() as espeak:
        variant = demo._variant(demo.VOICES["v01"], pitch_st=0, pitch_range=1)
        y = _shaping.trim(
            espeak.speak(f"Say the word wheel{ending}", variant=variant, rate_wpm=160)
        )
        f0 = librosa.yin(y[-espeak.sr // 4 :], fmin=80, fmax=400, sr=espeak.sr, center=False)
    return f0[len(f0) // 2], f0[-1]


def test_surprise_rises_and_the_others_fall() -> None:
    middle, end = _pitch_of(demo.PROSODY["surprise"].ending)
    assert end > middle + 5
    middle, end = _pitch_of(demo.PROSODY["neutral"].ending)
    assert end < middle - 5


def test_tremor_moves_the_pitch_by_its_depth() -> None:
    sr = 16_000
    tone = np.sin(2 * np.pi * 200 * np.arange(2 * sr) / sr)
    y = _shaping.wobble(tone, sr, depth=0.05, hz=7, phase=0)
    f0 = librosa.yin(y, fmin=100, fmax=400, sr=sr, frame_length=512, hop_length=64)[8:-8]
    assert f0.max() == pytest.approx(210, abs=2.5) and f0.min() == pytest.approx(190, abs=2.5)


def test_tilt_is_a_slope_in_db_per_octave() -> None:
    sr = 16_000
    t = np.arange(sr) / sr
    for hz, gain_db in ((500, -6), (1000, 0), (2000, 6), (4000, 12)):
        tone = np.sin(2 * np.pi * hz * t)
        tilted = _shaping.tilt(tone, sr, db_per_octave=6.0)
        assert 20 * np.log10(tilted.std() / tone.std()) == pytest.approx(gain_db, abs=0.1)


# ---- voices


def test_voices_have_their_own_pitch(measured: pd.DataFrame) -> None:
    neutral = measured[measured["emotion"] == "neutral"]
    pitch = neutral.groupby("speaker")["pitch_st"].median()
    gender = neutral.groupby("speaker")["gender"].first()
    assert pitch[gender == "female"].min() > pitch[gender == "male"].max()
    assert np.diff(np.sort(pitch)).min() > 0.5


def test_absolute_pitch_does_not_tell_the_emotion(measured: pd.DataFrame) -> None:
    pitch = measured.groupby(["speaker", "emotion"])["pitch_st"].median()
    assert pitch["demo-v05", "sad"] > pitch["demo-v07", "neutral"]
    assert pitch["demo-v02", "happy"] > pitch["demo-v04", "neutral"] > pitch["demo-v06", "fear"]


def test_formants_are_taken_up_by_the_synthesizer() -> None:
    """With one pitch for all, the voices still differ: eSpeak ignores bad variants silently."""
    envelopes = {}
    with _espeak.open_synthesizer() as espeak:
        for name, voice in demo.VOICES.items():
            same_pitch = demo._variant(voice, pitch_st=0, pitch_range=1).replace(
                f"pitch {voice.pitch_hz[0]} {voice.pitch_hz[1]}", "pitch 100 100"
            )
            assert "pitch 100 100" in same_pitch
            y = espeak.speak("Say the word wheel.", variant=same_pitch, rate_wpm=160)
            envelopes[name] = librosa.feature.mfcc(y=y, sr=espeak.sr, n_mfcc=20).mean(axis=1)[1:]
    names = list(envelopes)
    for i, one in enumerate(names):
        for other in names[i + 1 :]:
            assert np.linalg.norm(envelopes[one] - envelopes[other]) > 1, (one, other)


def test_an_unknown_voice_is_an_error(tmp_path: Path) -> None:
    with _espeak.open_synthesizer() as espeak:
        espeak._variant_file = tmp_path / "nobody"  # where eSpeak does not look
        with pytest.raises(UserError, match="nobody"):
            espeak.speak("Hello.", variant="language variant\n", rate_wpm=160)


def test_emotions_are_found_on_unheard_voices_but_not_always(measured: pd.DataFrame) -> None:
    """Too easy, and every model would look the same; too hard, and no notebook could show one."""
    prosody = measured[["pitch_st", "pitch_range_st", "spoken_s", "level_db"]]
    x = np.column_stack([np.stack(measured["mfcc"]), prosody])
    y, speaker = measured["emotion"], measured["speaker"]
    model = make_pipeline(StandardScaler(), SVC(C=3))
    guess = cross_val_predict(model, x, y, groups=speaker, cv=LeaveOneGroupOut())
    uar = recall_score(y, guess, average="macro")
    print(f"SVM on MFCC means and prosody, one voice out: UAR {uar:.3f}, chance {1 / 7:.3f}")
    assert 0.6 < uar < 0.95


# ---- made whole, or not at all


@pytest.mark.usefixtures("few")
def test_a_valid_corpus_is_left_alone(tmp_path: Path) -> None:
    demo.CORPUS.load(tmp_path / "demo")
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "demo").iterdir()}
    demo.CORPUS.load(tmp_path / "demo")
    assert before == {path: path.stat().st_mtime_ns for path in (tmp_path / "demo").iterdir()}


@pytest.mark.usefixtures("few")
@pytest.mark.parametrize("stamp", ["", "[]", "{}", '{"synthetic": true, "seed": "x"}', None])
def test_a_corpus_of_other_rules_is_made_again(tmp_path: Path, stamp: str | None) -> None:
    folder = tmp_path / "demo"
    demo.CORPUS.load(folder)
    if stamp is None:
        good = json.loads((folder / demo.STAMP).read_text())
        stamp = json.dumps({**good, "rules": "older"})
    (folder / demo.STAMP).write_text(stamp)
    next(folder.glob("*.wav")).write_bytes(b"old")
    assert len(demo.CORPUS.load(folder).clips) == 40
    assert min(path.stat().st_size for path in folder.glob("v*")) > 1000
    assert [path.name for path in tmp_path.iterdir()] == ["demo"]


def test_changing_a_rule_changes_the_stamp(monkeypatch: pytest.MonkeyPatch) -> None:
    before = demo._rules()
    monkeypatch.setitem(demo.PROSODY, "sad", demo.Prosody(rate=0.9))
    assert demo._rules() != before


@pytest.mark.usefixtures("few")
def test_a_missing_clip_is_made_again(tmp_path: Path) -> None:
    demo.CORPUS.load(tmp_path / "demo")
    next((tmp_path / "demo").glob("*.flac")).unlink()
    assert len(demo.CORPUS.load(tmp_path / "demo").clips) == 40


@pytest.mark.usefixtures("few")
def test_other_files_are_never_replaced(tmp_path: Path) -> None:
    folder = tmp_path / "demo"
    folder.mkdir()
    (folder / "my interview.wav").write_bytes(b"dear to me")
    with pytest.raises(UserError, match=r"my interview\.wav"):
        demo.CORPUS.load(folder)
    assert (folder / "my interview.wav").read_bytes() == b"dear to me"


@pytest.mark.usefixtures("few")
def test_a_failure_on_the_way_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []

    def fill_the_disk(path: Path, y: np.ndarray, sr: int) -> None:
        calls.append(path)
        if len(calls) == 5:
            raise OSError(28, "No space left on device")
        _shaping.write_clip(path, y, sr)

    monkeypatch.setattr(demo, "write_clip", fill_the_disk)
    with pytest.raises(UserError, match="No space left"):
        demo.CORPUS.load(tmp_path / "demo")
    assert len(calls) == 5 and not list(tmp_path.iterdir())


def test_a_folder_that_cannot_be_is_explained(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(UserError, match="SER_DATA"):
        demo.CORPUS.load(tmp_path / "file" / "demo")


def test_a_killed_call_leaves_no_half_corpus(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    code = _FEW.format(n=560) + f"demo.CORPUS.load({str(tmp_path / 'demo')!r})"
    # What eSpeak reads lies in the system's temporary folder, and a killed call leaves it there.
    environment = {**os.environ, "TMPDIR": str(tmp_path_factory.mktemp("tmp"))}
    process = subprocess.Popen([sys.executable, "-c", code], env=environment)
    while len(list(tmp_path.glob(".demo-*/made/*"))) < 10:
        assert process.poll() is None, "it ended before it could be killed"
        time.sleep(0.01)
    process.send_signal(getattr(signal, "SIGKILL", signal.SIGTERM))
    process.wait()
    assert not (tmp_path / "demo").exists()
    (leftover,) = tmp_path.glob(".demo-*")
    os.utime(leftover, (time.time() - 7200,) * 2)
    subprocess.run(
        [sys.executable, "-c", _FEW.format(n=40) + f"demo.CORPUS.load({str(tmp_path / 'demo')!r})"],
        check=True,
    )
    assert len(list((tmp_path / "demo").glob("v*"))) == 40
    assert [path.name for path in tmp_path.iterdir()] == ["demo"]


@pytest.mark.parametrize("stale", [False, True])
def test_two_calls_at_a_time_do_no_harm(tmp_path: Path, stale: bool) -> None:
    folder = tmp_path / "demo"
    if stale:
        folder.mkdir()
        (folder / demo.STAMP).write_text("{}")
    code = _FEW.format(n=40) + f"print(len(demo.CORPUS.load({str(folder)!r}).clips))"
    calls = [
        subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) for _ in range(2)
    ]
    assert [call.communicate()[0].split() for call in calls] == [[b"40"], [b"40"]]
    assert [path.name for path in tmp_path.iterdir()] == ["demo"]


def test_many_calls_on_an_old_corpus_all_get_the_new_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The race of replacing it, many times: with stand-ins for the clips, which take no time."""
    folder = tmp_path / "demo"

    def write_stand_ins(made: Path, seed: int) -> None:
        for stem, suffix in demo._CLIPS.items():
            (made / f"{stem}{suffix}").touch()
        stamp = {"synthetic": True, "rules": demo._rules(), "seed": seed}
        (made / demo.STAMP).write_text(json.dumps(stamp))

    monkeypatch.setattr(demo, "_CLIPS", dict(list(demo._CLIPS.items())[:5]))
    monkeypatch.setattr(demo, "_write_clips", write_stand_ins)
    with ThreadPoolExecutor(4) as pool:
        for _ in range(30):
            folder.mkdir(exist_ok=True)
            (folder / demo.STAMP).write_text("{}")
            assert [len(found.clips) for found in pool.map(demo.CORPUS.load, [folder] * 4)] == [
                5
            ] * 4
    assert [path.name for path in tmp_path.iterdir()] == ["demo"]


# ---- without eSpeak NG


@pytest.mark.usefixtures("few")
def test_a_made_corpus_needs_no_espeak(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    demo.CORPUS.load(tmp_path / "demo")
    monkeypatch.setitem(sys.modules, "espeakng_loader", None)
    assert len(demo.CORPUS.load(tmp_path / "demo").clips) == 40


def test_a_missing_espeak_is_explained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "espeakng_loader", None)
    with pytest.raises(UserError, match="espeakng-loader.*--corpora ravdess"):
        demo.CORPUS.load(tmp_path / "demo")
    assert not list(tmp_path.iterdir())


def test_a_broken_espeak_is_explained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import espeakng_loader

    monkeypatch.setattr(espeakng_loader, "get_data_path", lambda: str(tmp_path))
    with pytest.raises(UserError, match="phontab is missing"):
        demo.CORPUS.load(tmp_path / "demo")
    (tmp_path / "library.so").write_text("no library")
    monkeypatch.setattr(espeakng_loader, "get_library_path", lambda: str(tmp_path / "library.so"))
    with pytest.raises(UserError, match=r"library\.so"):
        demo.CORPUS.load(tmp_path / "demo")


def test_importing_loads_no_gpl_code() -> None:
    code = "import sys, helpers.corpora; print('espeakng_loader' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "False"
