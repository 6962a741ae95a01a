"""The published corpora: their layouts as people have them, and names that are nearly right."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny import touch

from helpers.corpora import (
    CORPORA,
    load_corpora,
    load_listing,
    locate,
    parse_names,
)
from helpers.corpora.overview import map_emotions, survey_corpora
from helpers.corpora.table import EMOTIONS
from helpers.errors import UserError

FIELDS = ["speaker", "gender", "emotion", "intensity", "text", "channel", "language"]
#: One clip of each corpus as the four-in-one archive has it.
FOUR = {
    "cremad": "Crema/1001_DFA_ANG_XX.wav",
    "ravdess": "Ravdess/audio_speech_actors_01-24/Actor_12/03-01-06-01-02-01-12.wav",
    "savee": "Savee/DC_a01.wav",
    "tess": "Tess/OAF_Pleasant_surprise/OAF_back_ps.wav",
}


@pytest.fixture
def home(tmp_path, monkeypatch):
    """An empty data folder that SER_DATA points to; loaders read names only, files are empty."""
    monkeypatch.setenv("SER_DATA", str(tmp_path / "data"))
    (tmp_path / "data").mkdir()
    return tmp_path / "data"


# --- names that are right, and nearly right ---

PARSE = {name: CORPORA[name].parse for name in "ravdess tess cremad savee emodb nemo".split()}
#: Names of clips, and what they say: speaker, gender, emotion, intensity; text.
ROWS = {
    "03-01-06-01-02-01-12": ("ravdess-12 female fear normal", "Dogs are sitting by the door"),
    "03-02-03-02-01-02-07": ("ravdess-07 male happy strong", "Kids are talking by the door"),
    "OAF_back_ps": ("tess-OAF female surprise", "Say the word back"),
    "OA_bite_neutral": ("tess-OAF female neutral", "Say the word bite"),
    "1002_IEO_ANG_HI": ("cremad-1002 female angry high", "It's eleven o'clock"),
    "1040_ITH_SAD_X": ("cremad-1040 male sad", "I think I have a doctor's appointment"),
    "KL_su15": ("savee-KL male surprise", ""),
    "03a01Wa": ("emodb-03 male angry", "Der Lappen liegt auf dem Eisschrank"),
    "EB0_anger_13": ("nemo-EB0 female angry", "sentence 13"),
}
#: A name with a gap for the code of the emotion, and what each code means.
CODES = {
    "ravdess": ("03-01-{}-01-01-01-01", "01 neutral 02 calm 03 happy 04 sad 05 angry 06 fear "
                "07 disgust 08 surprise"),
    "tess": ("YAF_dog_{}", "angry angry disgust disgust fear fear happy happy neutral neutral "
             "ps surprise sad sad"),
    "cremad": ("1001_DFA_{}_XX", "ANG angry DIS disgust FEA fear HAP happy NEU neutral SAD sad"),
    "savee": ("DC_{}01", "a angry d disgust f fear h happy n neutral sa sad su surprise"),
    "emodb": ("03a01{}a", "W angry L boredom E disgust A fear F happy T sad N neutral"),
    "nemo": ("EB0_{}_1", "neutral neutral happiness happy sadness sad anger angry fear fear "
             "surprised surprise"),
}  # fmt: skip


def make_row(stem: str) -> dict[str, str]:
    said, text = ROWS[stem]
    row = dict(zip(FIELDS, [*said.split(), ""], strict=False)) | {"text": text}
    corpus = row["speaker"].partition("-")[0]
    row |= {"language": {"emodb": "de", "nemo": "pl"}.get(corpus, "en")}
    song = stem.startswith("03-02")
    return row | {"corpus": corpus + "-song" * song, "channel": "song" if song else "speech"}


@pytest.mark.parametrize("stem", ROWS)
def test_a_name_says_all_labels_of_a_clip(stem):
    parse = PARSE[make_row(stem)["speaker"].partition("-")[0]]
    row = {**dict.fromkeys(FIELDS, ""), "channel": "speech", **parse(stem)[1]}
    assert row == make_row(stem)


@pytest.mark.parametrize("name", CODES)
def test_every_code_means_its_emotion(name):
    stem, codes = CODES[name]
    words = codes.split()
    meant = dict(zip(words[::2], words[1::2], strict=True))
    assert {code: PARSE[name](stem.format(code))[1]["emotion"] for code in meant} == meant
    assert set(meant.values()) == set(CORPORA[name].counts)


@pytest.mark.parametrize(
    ("name", "stem", "n_women"),
    [("ravdess", "03-01-05-01-01-01-{:02}", 12), ("cremad", "10{:02}_DFA_ANG_XX", 43)],
)
def test_half_of_the_speakers_are_women(name, stem, n_women):
    parsed = [PARSE[name](stem.format(number)) for number in range(100)]
    rows = [found[1] for found in parsed if found]
    assert len(rows) == CORPORA[name].speakers
    assert [row["gender"] for row in rows].count("female") == n_women


@given(data=st.data())
def test_letters_that_only_look_right_are_refused(data):
    stem = data.draw(st.sampled_from(sorted(ROWS)))
    at, cut = data.draw(st.integers(0, len(stem))), data.draw(st.integers(0, 1))
    other = stem[:at] + data.draw(st.sampled_from(".\n０٣Аа")) + stem[at + cut :]
    assert not [name for name, parse in PARSE.items() if parse(other)]


@pytest.mark.parametrize(
    ("name", "stems"),
    [
        (
            "ravdess",
            "03-01-09-01-01-01-01 03-01-01-02-01-01-01 03-02-07-01-01-01-01 03-02-03-01-01-01-18 "
            "03-01-03-01-01-01-25 03-01-03-01-01-01 03-01-03-01-01-01-01-01 ٠٣-01-03-01-01-01-01",
        ),
        ("tess", "OAF_back_bored EAF_back_sad OAF_b4ck_sad OA_back_neutral OA_bite_sad OAF__sad"),
        ("cremad", "1001_DFA_ANG_HI 1092_DFA_ANG_XX 1001_IEO_NEU_HI 1001_IEO_ANG_XX"),
        ("savee", "DC_sa16 DC_n31 AB_a01 DC_a1"),
        ("emodb", "03a03Wa 04a01Wa 03a01Xa 03a01Wg"),
        ("nemo", "EB0_anger_0 EB0_anger_01 EB0_anger_91 EB1_anger_1 EB0_angry_1 EB0_anger"),
    ],
)
def test_codes_and_combinations_that_do_not_exist_are_refused(name, stems):
    assert not [stem for stem in stems.split() if PARSE[name](stem) is not None]


# --- folders as people have them ---


@pytest.mark.parametrize(
    ("name", "stem", "paths"),
    [
        ("cremad", "1002_IEO_ANG_HI", ["AudioWAV/{}.wav", "{}.flac", "a b/c/{}.WAV"]),
        ("savee", "KL_su15", ["AudioData/KL/su15.wav", "KL/su15.flac", "ALL/{}.WAV"]),
        ("emodb", "03a01Wa", ["wav/{}.wav", "{}.flac", "x/y/{}.WAV"]),
        ("nemo", "EB0_anger_13", ["samples/{}.wav", "{}.opus"]),
        ("ravdess", "03-01-06-01-02-01-12", ["Actor_12/{}.wav", "x/Actor_03/{}.WAV"]),
        ("tess", "OAF_back_ps", ["OAF_Pleasant_surprise/{}.wav", "a/OAF_Fear/{}.flac"]),
    ],
)
def test_all_labels_are_read_whatever_the_folder(home, name, stem, paths):
    for path in paths:
        path = home / name / path.format(stem)
        touch(path.parent, path.name)
        (row,) = load_corpora(name).drop(columns="duration_s").to_dict("records")
        assert row == {"path": str(path), **make_row(stem)}
        path.unlink()


@pytest.mark.parametrize(
    ("name", "used", "copies"),
    [
        (  # as published it lacks two letters; mended copies go around
            "tess",
            "OAF_neutral/OA_bite_neutral.wav",
            ["a/b/OAF_neutral/OAF_bite_neutral.wav"],
        ),
        ("cremad", "AudioWAV/1040_ITH_SAD_X.wav", ["copy/of/1040_ITH_SAD_XX.wav"]),
        ("cremad", "x/AudioWAV/1001_DFA_ANG_XX.wav", ["AudioMP3/1001_DFA_ANG_XX.mp3"]),
        ("savee", "DC_a01.wav", ["AudioData/DC/a01.wav"]),
        (
            "ravdess",
            "Actor_12/03-01-06-01-02-01-12.flac",
            ["Actor_12/03-01-06-01-02-01-12.wav", "x/Actor_12/03-01-06-01-02-01-12.wav"],
        ),
    ],
)
def test_a_clip_counts_once_wherever_it_lies(home, name, used, copies):
    touch(home / name, used, *copies)
    listing = load_listing(name)
    assert listing.clips["path"].tolist() == [str(home / name / used)]
    assert sorted(listing.paths("copy")) == sorted(str(home / name / path) for path in copies)
    assert len(listing.left_out) == len(copies)


def test_files_that_are_no_clips_are_told_apart(home):
    touch(home / "savee", "AudioData/JE/a01.wav", "a01.wav")
    assert load_listing("savee").paths("unparsed") == [str(home / "savee/a01.wav")]  # whose is it?
    touch(home / "ravdess", "03-01-06-01-02-01-12.wav", "01-01-06-01-02-01-12.mp4", "x.wav")
    # The film of a take is no audio file of the rule, and no copy either.
    assert load_listing("ravdess").left_out.to_numpy().tolist() == [
        [str(home / "ravdess/x.wav"), "unparsed"]
    ]


@pytest.mark.parametrize(
    ("name", "folder"),
    [
        ("cremad", "CREMA-D"),
        ("cremad", "Crema"),
        ("ravdess", "ravdess-emotional-speech-audio"),
        ("tess", "TESS Toronto emotional speech set data"),
        ("tess", "Toronto emotional speech set (TESS)"),
    ],
)
def test_folders_are_found_however_they_are_spelled(home, name, folder):
    clip = {**FOUR, "emodb": "x/03a01Wa.wav"}[name].partition("/")[2]
    touch(home, f"{folder}/{clip}", f".{folder}/{clip}")
    assert locate(CORPORA[name]) == home / folder
    assert load_corpora(name)["corpus"].tolist() == [name]


def test_the_folder_of_our_spelling_goes_first(home):
    touch(home, "Tess/OAF_back_ps.wav", "tess/YAF_back_sad.wav", "TESS/YAF_back_ps.wav")
    assert locate(CORPORA["tess"]).samefile(home / "tess")
    with pytest.raises(UserError, match="the folder does not exist"):
        load_corpora("savee")
    assert locate(CORPORA["savee"]) == home / "savee"  # where it is to lie


def test_of_several_folders_the_one_with_clips_is_taken(home):
    touch(home, "ravdess/03-02-03-01-01-01-01.wav", FOUR["ravdess"], "tess/notes.txt", FOUR["tess"])
    clips = {Path(path).name for path in load_corpora("ravdess,ravdess-song,tess")["path"]}
    assert clips == {"03-02-03-01-01-01-01.wav", "03-01-06-01-02-01-12.wav", "OAF_back_ps.wav"}


def test_a_corpus_is_not_taken_for_another(home):
    touch(home, "crematorium/1001_DFA_ANG_XX.wav", "tess2/OAF_back_ps.wav", "ravdess-song/x.wav")
    for name in ("cremad", "tess", "ravdess"):
        with pytest.raises(UserError, match="www.kaggle.com/datasets/"):
            load_corpora(name)


# --- four in one ---


def test_a_folder_of_four_corpora_keeps_their_names(home):
    touch(home / "four-in-one", *FOUR.values(), "Savee/stray.wav", "Tess/again/OAF_back_ps.wav")
    (name,) = parse_names("four-in-one")
    listing = load_listing(name)
    assert sorted(listing.clips["corpus"]) == sorted(FOUR)
    assert sorted(listing.clips["path"]) == sorted(f"{name}/{path}" for path in FOUR.values())
    assert listing.paths("unparsed") == [f"{name}/Savee/stray.wav"]
    assert len(listing.paths("copy")) == 1
    touch(home, "tess/OAF_back_ps.wav")
    with pytest.raises(UserError, match="given twice"):
        load_corpora("four-in-one,tess")


def test_corpora_are_found_by_name_in_the_four_in_one_layout(home):
    touch(home, *FOUR.values())
    for name, path in FOUR.items():
        assert load_corpora(name)["path"].tolist() == [str(home / path)]
    assert parse_names("all") == sorted(FOUR)
    assert load_corpora("all").equals(load_corpora(str(home)))


# --- all of them ---


def test_all_is_every_corpus_of_people_that_is_there(home):
    touch(home, "emodb/03a01Wa.wav", "tess/OAF_back_ps.wav", "ravdess/03-02-03-01-01-01-01.wav")
    touch(home, "cremad/AudioWAV/1001_DFA_ANG_XX.wav", "demo/v01_neutral_back.wav", "x/DC_a01.wav")
    names = parse_names("all")
    assert names == ["cremad", "emodb", "ravdess-song", "tess"]
    assert sorted(set(load_corpora("all")["corpus"])) == names
    assert survey_corpora("all").index.tolist() == names
    with pytest.raises(UserError, match="given twice"):
        load_corpora("all,tess")


@pytest.mark.parametrize("there", [None, (), ("demo/v01_neutral_back.wav", "tess/stray.wav")])
def test_all_of_nothing_says_what_to_do(home, there):
    if there is None:
        home.rmdir()
    touch(home, *there or ())
    with pytest.raises(UserError, match="none of cremad, emodb.*SER_DATA.*demo") as raised:
        load_corpora("all")
    assert str(home) in str(raised.value)


# --- one vocabulary ---


def test_map_emotions_has_the_codes_of_every_corpus(home):
    touch(home, "cremad/1001_DFA_ANG_XX.wav", "emodb/03a01Wa.wav", "emodb/03a01La.wav")
    touch(home, "ravdess/03-01-02-01-01-01-01.wav", "ravdess/03-01-05-01-01-01-01.wav")
    table = map_emotions(load_corpora("cremad,emodb,ravdess"))
    rows = table.set_index(["emotion", "corpus"])
    assert rows.loc[("angry", "emodb"), ["code", "clips"]].tolist() == ["W", 1]
    assert rows.loc[("boredom", "emodb"), "code"] == "L"
    assert rows.loc[("sad", "emodb"), "clips"] == 0  # none there
    assert "surprise" not in set(table.loc[table["corpus"] == "cremad", "emotion"])
    order = [emotion for emotion in EMOTIONS if emotion in set(table["emotion"])]
    assert table["emotion"].drop_duplicates().tolist() == order
    assert len(table) == 6 + 7 + 8


# --- the real recordings ---


@pytest.mark.corpora
@pytest.mark.parametrize(
    ("name", "women", "men", "texts", "intensities"),
    [
        ("ravdess", 12, 12, 2, {"normal": 768, "strong": 672}),
        ("ravdess-song", 11, 12, 2, {"normal": 552, "strong": 460}),
        ("tess", 2, 0, 200, {"": 2800}),
        ("emodb", 5, 5, 10, None),
        ("nemo", 4, 5, 90, {"": 4481}),
    ],
)
def test_real_corpora_are_as_published(real_data, name, women, men, texts, intensities):
    if not (real_data / name.removesuffix("-song")).is_dir():
        pytest.skip(f"no {name} in {real_data}")
    listing, corpus = load_listing(name), CORPORA[name]
    clips = listing.clips
    assert listing.left_out.empty
    assert clips["path"].is_unique and clips["path"].map(os.path.isfile).all()
    people = clips.drop_duplicates("speaker")["gender"].value_counts()
    assert people.to_dict() == {sex: n for sex, n in (("female", women), ("male", men)) if n}
    assert clips["text"].nunique() == texts
    assert set(clips["language"]) == {{"emodb": "de", "nemo": "pl"}.get(name, "en")}
    assert set(clips["channel"]) == {"song" if name == "ravdess-song" else "speech"}
    counts = clips["emotion"].value_counts().to_dict()
    if name == "emodb":  # only a part of it may be there
        assert all(corpus.counts[emotion] == n for emotion, n in counts.items())
    else:
        assert counts == dict(corpus.counts) and len(clips) == corpus.n_clips
        assert clips["intensity"].value_counts().to_dict() == intensities
    if corpus.folds:
        assert set(clips["speaker"]) <= {speaker for fold in corpus.folds for speaker in fold}
