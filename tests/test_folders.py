"""Folders as people have them: what each level means, and that nothing vanishes uncounted."""

from __future__ import annotations

import logging
import os
import re
from pathlib import Path

import pytest
from conftest import ROOT
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tiny import touch

from helpers.corpora import Reading, load_corpora, load_listing
from helpers.corpora.folders import load_folders
from helpers.corpora.labels import AS_WRITTEN
from helpers.errors import UserError

FOUR = ("angry", "happy", "neutral", "sad")


def read(root: Path, reading: Reading = AS_WRITTEN, column: str = "emotion") -> dict[str, str]:
    """A column of the clips below ``root``, by their path from there; speakers without corpus."""
    clips = load_listing(str(root), reading=reading).clips
    paths = [Path(path).relative_to(root).as_posix() for path in clips["path"]]
    values = [value.removeprefix(f"{clips['corpus'][0]}-") for value in clips[column]]
    return dict(zip(paths, values, strict=True))


@pytest.mark.parametrize(
    "name",
    [
        "{emotion}/1.wav",
        "{emotion}/{who}/1.wav",
        "{emotion}/{who}/take 1/1.wav",
        "{who}/{emotion}/1.wav",
        "{who}/session 1/{emotion}/1.wav",
        "archive/archive/{emotion}/{who}.wav",
        "data/wav/{emotion}/{who}/1.wav",
        "{number:04d}/{emotion}/1.wav",
        "Speaker_{number}/{emotion}/1.wav",
        "1_{emotion}/{who}/1.wav",
        "{emotion} clips/{who}/1.wav",
        "{who}_{emotion}/1.wav",
        "male/{emotion}/{who}.wav",
        "male_{emotion}/{who}.wav",
        "{emotion}/strong/{who}.wav",
        "{emotion}_strong/{who}/1.wav",
    ],
)
@pytest.mark.parametrize("upper", [False, True])
def test_the_level_of_emotion_words_is_the_emotion(tmp_path, caplog, name, upper):
    root, expected = tmp_path / "mine", {}
    for emotion in FOUR:
        for number, who in enumerate(("anna", "ben"), 1):
            written = emotion.title() if upper else emotion
            path = name.format(emotion=written, who=who, number=number)
            touch(root, path)
            expected[path] = emotion, who, number
    assert read(root) == {path: emotion for path, (emotion, _, _) in expected.items()}
    speakers = read(root, column="speaker")
    folder = name.rpartition("/")[0]
    if "{who}" in folder:
        assert speakers == {path: who for path, (_, who, _) in expected.items()}
    elif "{number" in folder:
        assert {int(re.sub(r"\D", "", speakers[path])) for path in expected} == {1, 2}
    else:
        assert set(speakers.values()) == {"unknown"}
    assert set(read(root, column="gender").values()) == {"male" if "male" in name else ""}
    assert set(read(root, column="intensity").values()) == {"strong" if "strong" in name else ""}
    assert not [r for r in caplog.records if r.levelno >= logging.WARNING]


@pytest.mark.parametrize(
    ("words", "has_test"),
    [
        (("train", "val", "test"), True),
        (("Training", "Validation", "Testing"), True),
        (("train_set", "dev set", "eval data"), True),
        (("train", "test", None), True),
        (("train", "valid", None), False),
    ],
)
@pytest.mark.parametrize("name", ["{side}/{emotion}/{n}.wav", "{emotion}/{side}/{n}.wav"])
def test_folders_called_like_sides_are_the_sides(tmp_path, caplog, words, has_test, name):
    root = tmp_path / "mine"
    for side in filter(None, words):
        touch(root, *(name.format(side=side, emotion=emotion, n=side) for emotion in FOUR))
    touch(root, "notes.txt")
    meant = dict(zip(words, ("train", "validation" if words[2] else "test", "test"), strict=True))
    sides = read(root, column="split")
    assert {Path(path).stem: side for path, side in sides.items()} == {
        side: meant[side] for side in words if side
    }
    assert set(read(root).values()) == set(FOUR)
    assert ("no folder for the test" in caplog.text) != has_test


def rows_of_readme() -> list[list[str]]:
    """Layouts that data/README.md says are understood: path, emotion, speaker, side."""
    text = (ROOT / "data/README.md").read_text(encoding="utf-8")
    table = text.partition("| a clip in the folder |")[2].partition("\n\n")[0]
    cells = [line.strip("|").split("|") for line in table.splitlines()[2:]]
    return [[cell.strip(" `") for cell in row] for row in cells]


@pytest.mark.parametrize(("path", "emotion", "speaker", "side"), rows_of_readme())
def test_the_readme_says_what_is_understood(tmp_path, path, emotion, speaker, side):
    root = tmp_path / "mine"
    for word, code, other in (("angry", "05", "test"), ("sad", "04", "train"), ("happy", "03", "")):
        changed = re.sub("angry", word, path).replace("Angry", word.title())
        changed = changed.replace("01-05", f"01-{code}").replace("02_", f"{code}_")
        changed = changed.replace("anna", "anna" if word != "sad" else "ben")
        touch(root, changed, re.sub("^[Tt]rain(ing)?", other or "val", changed))
        touch(root, changed.replace("0001", "0002"))
    clips = load_listing(str(touch(root, path))).clips.set_index("path")
    clip = clips.loc[str(root / path)]
    assert clip["emotion"] == emotion
    assert clip["speaker"].partition("-")[2] == (speaker or "unknown")
    assert clip.get("split", "") == side


PUBLISHED = {
    "ravdess": ["03-01-01-01-01-01-01", "03-01-06-01-02-01-12"],
    "tess": ["OAF_back_ps", "YAF_young_sad"],
    "cremad": ["1001_DFA_ANG_XX", "1002_IEO_SAD_HI"],
    "emodb": ["03a01Fa", "08b02Wb"],
    "savee": ["DC_a01", "KL_su15"],
}


@pytest.mark.parametrize("corpus", PUBLISHED)
@pytest.mark.parametrize("folder", ["", "Actor_01/", "angry/", "a/b/c/", "train/"])
def test_published_names_are_known_wherever_they_lie(tmp_path, corpus, folder):
    root = tmp_path / "my download"
    touch(root, *(f"{folder}{name}.wav" for name in PUBLISHED[corpus]))
    touch(root, "test/README.txt", "._x.wav", "__MACOSX/x.wav", ".DS_Store", folder + "own.wav")
    listing = load_listing(str(root))
    assert set(listing.clips["corpus"]) == {corpus} and len(listing.clips) == 2
    assert listing.paths("unparsed") == [str(root / folder / "own.wav")]
    assert listing.paths("other") == [str(root / "test/README.txt")]


def test_sides_of_a_published_corpus_are_kept(tmp_path):
    root = touch(tmp_path / "x", "train/OAF_back_ps.wav", "test/YAF_young_sad.wav")
    assert load_corpora(str(root))["split"].tolist() == ["test", "train"]


@pytest.mark.parametrize("corpus", PUBLISHED)
@pytest.mark.parametrize("folder", ["", "wav/"])
def test_the_data_folder_may_be_the_corpus_itself(tmp_path, monkeypatch, corpus, folder):
    monkeypatch.setenv("SER_DATA", str(tmp_path))
    touch(tmp_path, *(f"{folder}{name}.wav" for name in PUBLISHED[corpus]))
    assert len(load_corpora(corpus)) == 2


def test_labels_in_file_names_are_given_by_a_pattern(tmp_path):
    root = touch(tmp_path / "kids", "kid3_sad_02.wav", "kid4_angry_1.wav", "set/kid4_sad_9.wav")
    with pytest.raises(UserError, match=r"--pattern '\{speaker\}_\{emotion\}_\{\}'"):
        load_listing(str(root))
    reading = Reading(pattern="{speaker}_{emotion}_{}")
    assert list(read(root, reading).values()) == ["sad", "angry", "sad"]
    assert list(read(root, reading, "speaker").values()) == ["kid3", "kid4", "kid4"]
    listing = load_listing(str(touch(root, "other.wav")), reading=reading)
    assert listing.paths("unparsed") == [str(root / "other.wav")]


def test_a_pattern_completes_what_the_folders_say(tmp_path):
    root = touch(tmp_path / "mine", "sad/anna-1.wav", "happy/ben-1.wav", "happy/ben-2.wav")
    reading = Reading(pattern="{speaker}-{}")
    assert list(read(root, reading).values()) == ["happy", "happy", "sad"]
    assert list(read(root, reading, "speaker").values()) == ["ben", "ben", "anna"]
    deep = Reading(pattern="{emotion}/{speaker}-{text}")
    assert list(read(root, deep, "text").values()) == ["1", "2", "1"]


@pytest.mark.parametrize(
    ("pattern", "said"),
    [
        ("{}_{}", "expected fields such as"),
        ("{mood}", "expected fields such as"),
        ("{speaker}_{speaker}", "each once"),
        ("{emotion}__{}", "gives none of the 1 audio files an emotion, e.g. a_b.wav"),
    ],
)
def test_patterns_that_cannot_be_meant(tmp_path, pattern, said):
    with pytest.raises(UserError, match=re.escape(said)):
        load_listing(str(touch(tmp_path, "a_b.wav")), reading=Reading(pattern=pattern))


def test_what_is_assumed_is_said(tmp_path, caplog):
    read(touch(tmp_path / "codes", "0/1.wav", "1/1.wav"))
    assert "took the folders 0, 1 for emotions" in caplog.text
    caplog.clear()
    root = touch(tmp_path / "words", "plok/anna/1.wav", "grmf/anna/1.wav")
    assert set(read(root).values()) == {"plok", "grmf"}
    assert "took the folders grmf, plok for emotions" in caplog.text
    caplog.clear()
    read(touch(tmp_path / "own", "plok/1.wav", "grmf/1.wav"))
    assert not caplog.records  # one level can only be the labels


def test_what_means_the_same_becomes_one_emotion(tmp_path, caplog):
    ours = touch(tmp_path / "ours", "angry/1.wav", "sad/1.wav", "joy/1.wav", "happy/1.wav")
    theirs = touch(tmp_path / "theirs", "Anger/1.wav", "TRAURIG/1.wav", "mad/1.wav", "joy/2.wav")
    table = load_corpora([ours, theirs])
    # One corpus tells joy from happy, so they stay two.
    assert set(table["emotion"]) == {"angry", "sad", "joy", "happy"}
    assert "Anger=angry, TRAURIG=sad, mad=angry" in caplog.text
    kept = load_corpora([ours, theirs], Reading(mapping="Anger=anger,joy=happy"))
    assert set(kept["emotion"]) == {"angry", "anger", "sad", "happy"}


def test_emotions_are_chosen_and_renamed(tmp_path, caplog):
    root = touch(tmp_path / "x", *(f"{e}/{n}.wav" for e in (*FOUR, "joy") for n in "12"))
    pairs = tmp_path / "pairs.txt"
    pairs.write_text("# ours\njoy = happy\n\n", encoding="utf-8")
    for mapping in ("joy=happy", str(pairs)):
        table = load_corpora(str(root), Reading(emotions="happy, sad", mapping=mapping))
        assert table["emotion"].value_counts().to_dict() == {"happy": 4, "sad": 2}
    assert "left out 4 files (of other emotions)" in caplog.text
    with pytest.raises(UserError, match="emotions fear: no clip has them, but neutral, "):
        load_corpora(str(root), Reading(emotions="sad,fear"))
    for wrong in ("joy", "joy=", "=happy", "nowhere.txt"):
        with pytest.raises(UserError, match="expected"):
            Reading(mapping=wrong)


@pytest.mark.parametrize(("one", "other"), [("Anna", "anna"), ("01", "1"), ("P_02", "p 2")])
def test_one_person_of_two_spellings_is_one(tmp_path, caplog, one, other):
    root = touch(tmp_path / "x", f"sad/{one}/1.wav", f"sad/{one}/2.wav", f"happy/{other}/1.wav")
    assert set(read(root, column="speaker").values()) == {one}
    assert f"'{one}' (2 clips), '{other}' (1 clips)" in caplog.text


def test_who_speaks_one_emotion_only_teaches_nothing(tmp_path, caplog):
    load_corpora(str(touch(tmp_path / "x", "sad/anna/1.wav", "happy/ben/1.wav")))
    assert "every speaker speaks one emotion only" in caplog.text
    caplog.clear()
    load_corpora(str(touch(tmp_path / "x", "sad/ben/1.wav")))
    assert "one emotion only" not in caplog.text


def test_what_is_not_read_as_audio_is_named_when_it_may_be_sound(tmp_path, caplog):
    root = touch(tmp_path / "x", "sad/1.wav", "happy/1.opus", "sad/2.sph", "sad/notes.txt")
    listing = load_listing(str(root))
    assert listing.paths("other") == [str(root / "sad/2.sph"), str(root / "sad/notes.txt")]
    load_corpora(str(root))
    assert "left out 1 files (not read as audio): 2.sph" in caplog.text
    with pytest.raises(UserError, match="found no audio files, but 1.sph, 2.SPH, a.txt"):
        load_listing(str(touch(tmp_path / "y", "sad/1.sph", "sad/2.SPH", "sad/a.txt")))


@pytest.mark.skipif(os.name != "posix", reason="made with the permissions of Unix")
def test_a_folder_that_may_not_be_read_is_named(tmp_path, caplog, monkeypatch):
    root = touch(tmp_path / "x", "sad/1.wav", "happy/1.wav", "angry/1.wav")
    locked = str(root / "angry")
    scandir = os.scandir

    def refuse(path):  # the superuser, who may run this, is refused nothing
        if os.fspath(path) == locked:
            raise PermissionError(13, "Permission denied", locked)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    assert len(load_listing(str(root)).clips) == 2
    assert caplog.text.count(f"a folder that may not be read: {locked}") == 1


NAMES = st.one_of(
    st.sampled_from(
        ["sad", "Happy", "train", "test", "01", "Actor_02", "male", "anna", "Wut", "x"]
    ),
    st.text(st.characters(blacklist_characters="/\0", blacklist_categories=["Cs"]), min_size=1),
    st.just("gl\udccccklich"),  # Latin-1 on a disk of UTF-8
).filter(lambda name: name not in (".", "..") and len(os.fsencode(name)) < 60)


@pytest.fixture
def silent():
    """What is logged of names that are not UTF-8 cannot travel between processes of tests."""
    logging.disable()
    yield
    logging.disable(logging.NOTSET)


@pytest.mark.usefixtures("silent")
@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    trees=st.lists(
        st.tuples(
            st.lists(NAMES, max_size=4), NAMES, st.sampled_from([".wav", ".MP3", ".txt", ""])
        ),
        min_size=1,
        max_size=12,
    )
)
def test_no_tree_crashes_and_nothing_vanishes(tmp_path_factory, trees):
    root = tmp_path_factory.mktemp("tree")
    for folders, stem, suffix in trees:
        path = root.joinpath(*folders)
        try:
            path.mkdir(parents=True, exist_ok=True)
            (path / (stem + suffix)).touch()
        except OSError:  # a file is where a folder is wanted
            continue
    seen = {
        os.path.join(folder, name)
        for folder, _, names in os.walk(root)
        for name in names
        if not any(
            part.startswith((".", "__MACOSX"))
            for part in Path(folder, name).relative_to(root).parts
        )
    }
    try:
        listing = load_folders(root)
    except UserError as error:
        assert str(root) in str(error)
        return
    counted = [*listing.clips["path"], *listing.left_out["path"]]
    assert sorted(counted) == sorted(seen)
    assert (listing.clips["emotion"] != "").all()
