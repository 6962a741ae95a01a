"""What is wrong with a corpus is found, named, and nothing else is; a bad clip stops nothing."""

from __future__ import annotations

import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile
from tiny import tone, write_tone

from helpers.corpora import CORPORA
from helpers.corpora.overview import survey_corpora
from helpers.errors import UserError
from helpers.sound.check import FAULTS, NOTES, validate_corpus

STEM = "03-01-06-01-02-01-12"  # RAVDESS: fear, actor 12


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data folder, in which a folder ``mine`` of own data lies: two emotions, two speakers."""
    monkeypatch.setenv("SER_DATA", str(tmp_path))
    hz = iter(range(200, 1000, 7))
    for emotion in ("sad", "angry"):
        for who in ("anna", "ben"):
            for take in "ab":
                write_tone(tmp_path / "mine" / emotion / who / f"{take}.wav", next(hz))
    return tmp_path


@pytest.fixture(scope="module")
def complete(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All of EmoDB by number: short tones of its 535 clips, no two alike."""
    root = tmp_path_factory.mktemp("data") / "emodb"
    corpus, speakers = CORPORA["emodb"], "03 08 09 10 11 12 13 14 15 16".split()
    sentences = "a01 a02 a04 a05 a07 b01 b02 b03 b09 b10".split()
    names = [f"{who}{s}{{}}{take}" for take in "abc" for s in sentences for who in speakers]
    hz = iter(range(100, 10_000, 5))
    for code, emotion in corpus.codes.items():
        for name in names[: corpus.counts[emotion]]:
            write_tone(root / f"{name.format(code)}.wav", next(hz), duration_s=0.31)
    return root


def write(path: Path, y: np.ndarray, *, sr: int = 16_000) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, y, sr)
    return path


def check_corpus(name: str | Path) -> pd.DataFrame:
    """What is found in a corpus."""
    return validate_corpus(str(name))[0]


def findings(name: str | Path, *, check: str = "") -> dict[str, str]:
    """Path below the corpus' folder, and what is said of it; of one check or of all."""
    found = check_corpus(name)
    assert list(found.columns) == ["path", "corpus", "check", "detail"]
    assert found["check"].isin([*FAULTS, *NOTES]).all()
    if check:
        found = found[found["check"] == check]
    else:
        found = found.assign(detail=found["check"] + ": " + found["detail"])
    paths = [Path(path).name if name in CORPORA else path for path in found["path"]]
    if name not in CORPORA and Path(name).is_dir():
        paths = [Path(path).relative_to(name).as_posix() for path in paths]
    return dict(zip(paths, found["detail"], strict=True))


# --- nothing wrong ---


def test_a_clean_corpus_has_no_findings(home, complete, monkeypatch):
    assert findings(home / "mine") == {}
    monkeypatch.setenv("SER_DATA", str(complete.parent))
    found, n_clips = validate_corpus("emodb")
    assert found.empty and n_clips == 535


def test_loud_short_pauses_and_other_rates_are_no_fault(home):
    loud = tone(300, peak=0.95)
    write(home / "mine" / "sad" / "anna" / "rate.flac", tone(310, duration_s=2), sr=44_100)
    write(home / "mine" / "sad" / "anna" / "loud.wav", loud)
    pauses = np.concatenate([np.zeros(16_000), tone(320), np.zeros(16_000)])  # most is silence
    write(home / "mine" / "sad" / "anna" / "pauses.wav", pauses)
    peak = tone(330)
    peak[[10, 2000, 2001, 5000]] = 1  # single samples, and two in a row
    write(home / "mine" / "sad" / "anna" / "peak.wav", peak)
    assert findings(home / "mine") == {}


# --- one check each ---


def test_missing_clips_of_an_emotion_and_speakers(home):
    for actor in range(1, 24):
        for take in ("01", "02"):
            name = f"03-01-01-01-01-{take}-{actor:02}.wav"
            write_tone(home / "ravdess" / name, 200 + 10 * actor + int(take))
    (home / "ravdess" / "03-01-01-01-01-01-05.wav").unlink()
    found = check_corpus("ravdess")
    assert found["check"].tolist() == ["missing"] * 9
    assert found["path"].eq(str(home / "ravdess")).all()
    neutral, calm, *_, speakers = found["detail"]
    assert neutral == "neutral: 45 of 96 clips" and calm == "calm: 0 of 192 clips"
    there = ", ".join(f"ravdess-{actor:02}" for actor in range(1, 24))
    assert speakers == f"23 of 24 speakers: only {there}"


def test_missing_corpus_is_one_finding(home):
    assert findings("tess") == {"tess": "missing: all 2800 clips of 2 speakers"}
    (home / "tess").mkdir()
    (home / "tess" / "holiday.wav").touch()
    assert list(findings("tess")) == ["tess", "holiday.wav"]


def test_unreadable_clips_are_listed_and_the_rest_goes_on(home):
    folder = home / "mine" / "sad" / "anna"
    (folder / "text.wav").write_text("no sound")
    (folder / "empty.wav").touch()
    whole = write_tone(folder / "cut.wav", 300).read_bytes()
    (folder / "cut.wav").write_bytes(whole[: len(whole) // 2])
    soundfile.write(folder / "nan.wav", np.full(9000, np.nan), 16_000, subtype="FLOAT")
    write(folder / "quiet.wav", 1e-3 * tone(310))
    for number in range(70):  # enough for several processes
        write_tone(home / "mine" / "sad" / "carl" / f"{number}.wav", 2000 + 7 * number)
    found = check_corpus(home / "mine")
    bad = found[found["check"] == "unreadable"]
    said = {
        Path(path).stem: detail for path, detail in zip(bad["path"], bad["detail"], strict=True)
    }
    assert {stem: text.split(";")[0][:19] for stem, text in said.items()} == {
        "empty": "found an empty file",
        "nan": "found NaN or infini",
        "text": "found text, beginni",
    }
    assert found["check"].tolist() == ["unreadable"] * 3 + ["damaged", "short", "quiet"]
    assert found["detail"][3].startswith("it is cut off (19200 bytes of sound, of which")


def test_any_other_error_is_a_finding_too(home, monkeypatch):
    def burst(path, **_):
        raise MemoryError("too much")

    monkeypatch.setattr("helpers.sound.inspection.decode_audio", burst)
    found = findings(home / "mine", check="unreadable")
    assert set(found.values()) == {"MemoryError('too much')"} and len(found) == 8


@pytest.mark.parametrize(
    ("y", "said"),
    [
        (np.zeros(16_000), "unreadable: found digital silence"),
        (tone(300) * 1e-3, "quiet: its peak is -6"),
        (np.append(tone(300), np.zeros(16_000)), ""),  # a pause is no fault
        (tone(duration_s=0.29), "short: 0.290 s"),
        (tone(duration_s=0.05), "unreadable: found 50 ms of sound"),
        (tone(duration_s=0.31), ""),
    ],
)
def test_what_is_said_of_one_clip(home, y, said):
    write(home / "mine" / "sad" / "anna" / "x.wav", y)
    found = findings(home / "mine")
    assert list(found) == (["sad/anna/x.wav"] if said else [])
    assert found.get("sad/anna/x.wav", "").startswith(said)


def test_duplicates_are_the_same_file(home):
    anna = home / "mine" / "sad" / "anna"
    shutil.copy(anna / "a.wav", anna / "same.wav")
    y, _ = soundfile.read(anna / "a.wav")
    write(anna / "louder.wav", y * 1.1)
    found = findings(home / "mine")
    assert found == {
        "sad/anna/a.wav": f"duplicate: one file, 2 times: {anna / 'a.wav'} (sad), "
        f"{anna / 'same.wav'} (sad)"
    }


def test_one_file_under_two_emotions_is_worse(home):
    shutil.copy(home / "mine/sad/anna/a.wav", home / "mine/angry/ben/x.wav")
    found = findings(home / "mine")
    assert found == {
        "angry/ben/x.wav": f"conflict: one file, 2 times: {home / 'mine/angry/ben/x.wav'} (angry), "
        f"{home / 'mine/sad/anna/a.wav'} (sad)"
    }


def test_further_files_of_a_clip_are_copies(home):
    write_tone(home / "ravdess" / "Actor_12" / f"{STEM}.wav")
    write_tone(home / "ravdess" / "again" / "Actor_12" / f"{STEM}.wav")
    found = check_corpus("ravdess").query("check == 'copy'")
    assert found["path"].tolist() == [str(home / "ravdess" / "again" / "Actor_12" / f"{STEM}.wav")]
    assert found["detail"].tolist() == ["a further file of a clip"]


def test_unknown_names_are_refused(home):
    for call in (validate_corpus, lambda name: survey_corpora([name])):
        with pytest.raises(UserError, match="unknown corpus 'nix'"):
            call("nix")


# --- the survey ---


def test_survey_counts_clips_and_speakers(home, complete):
    shutil.copytree(complete, home / "emodb")
    table = survey_corpora(["emodb", "tess", "demo", str(home / "mine")]).set_index("corpus")
    assert table["clips"].tolist() == [535, 0, 0, 8]
    assert table["speakers"].tolist() == [10, 0, 0, 2]
    assert table["expected_clips"].tolist()[:3] == [535, 2800, 560]
    assert table["expected_clips"].isna().tolist() == [False, False, False, True]
    assert table["state"].tolist() == ["complete", "not there", "made at first use", "own data"]
    assert not (home / "demo").exists()
    (home / "emodb" / "03a01Wa.wav").unlink()
    assert survey_corpora(["emodb"])["state"].tolist() == ["1 missing"]
    assert findings("emodb") == {"emodb": "missing: angry: 126 of 127 clips"}
    assert survey_corpora()["corpus"].tolist() == list(CORPORA)


def test_survey_names_missing_files_of_a_manifest(home):
    listed = home / "own.csv"
    listed.write_text("path,emotion\nmine/sad/anna/a.wav,sad\ngone.wav,angry\n")
    assert survey_corpora([str(listed)])["state"].tolist() == ["1 missing"]
    assert findings(listed) == {str(home / "gone.wav"): "missing: listed, but not there"}


# --- real recordings ---


@pytest.mark.corpora
def test_known_truths_of_ravdess(real_data):
    if not (real_data / "ravdess").is_dir():
        pytest.skip("no ravdess/ there")
    found = check_corpus("ravdess")
    stems = found["path"].map(lambda path: Path(path).stem)
    assert found["check"].value_counts().to_dict() == {"quiet": 13, "duplicate": 1}
    assert stems[found["check"] == "duplicate"].tolist() == ["03-01-03-01-02-01-07"]
    assert "03-01-03-01-02-02-07" in found.loc[found["check"] == "duplicate", "detail"].item()
    actors = Counter(stem[-2:] for stem in stems[found["check"] == "quiet"])
    assert actors == {"20": 8, "09": 4, "06": 1}
    assert check_corpus("ravdess-song").empty
