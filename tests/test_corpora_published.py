"""The published corpora: their layouts as people have them, and names that are nearly right."""

from __future__ import annotations

import itertools
import os
import string
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers.corpora import (
    CORPORA,
    EMOTIONS,
    cremad,
    emodb,
    four_in_one,
    load_corpora,
    load_listing,
    locate,
    nemo,
    parse_names,
    ravdess,
    savee,
    tess,
)
from helpers.corpora.overview import describe_corpora, map_emotions
from helpers.corpora.table import find_audio
from helpers.errors import UserError
from helpers.splits import make_split

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


def touch(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


# --- names that are nearly right ---


def make_row(speaker: str, gender: str, emotion: str, text: str = "", **others: str) -> dict:
    row = {"corpus": speaker.partition("-")[0], **dict.fromkeys(FIELDS, "")}
    row |= {"speaker": speaker, "gender": gender, "emotion": emotion, "text": text}
    return {**row, "channel": "speech", "language": "en", **others}


#: As many as there are; the rule takes any word.
TESS_WORDS = ["back", "bite", *(f"w{a}{b}d" for a in "abcdefghijk" for b in "abcdefghijklmnopqr")]


def ravdess_names() -> dict[str, dict]:
    emotions = ("neutral", "calm", "happy", "sad", "angry", "fear", "disgust", "surprise")
    texts = ("Kids are talking by the door", "Dogs are sitting by the door")
    names, two = {}, (0, 1)
    for song, e, i, t, r, actor in itertools.product(two, range(8), two, two, two, range(1, 25)):
        if (e == 0 and i) or (song and (e > 5 or actor == 18)):
            continue
        stem = f"03-0{song + 1}-0{e + 1}-0{i + 1}-0{t + 1}-0{r + 1}-{actor:02}"
        gender = "male" if actor % 2 else "female"
        others = {"intensity": ("normal", "strong")[i]}
        others |= {"corpus": "ravdess-song", "channel": "song"} if song else {}
        names[stem] = make_row(f"ravdess-{actor:02}", gender, emotions[e], texts[t], **others)
    return names


def tess_names() -> dict[str, dict]:
    words = {"ps": "surprise"} | {e: e for e in "angry disgust fear happy neutral sad".split()}
    names = {
        f"{who}_{word}_{code}": make_row(f"tess-{who}", "female", emotion, f"Say the word {word}")
        for who in ("OAF", "YAF")
        for word in TESS_WORDS
        for code, emotion in words.items()
    }
    return names | {"OA_bite_neutral": names["OAF_bite_neutral"]}


def cremad_names() -> dict[str, dict]:
    emotions = dict(ANG="angry", DIS="disgust", FEA="fear", HAP="happy", NEU="neutral", SAD="sad")
    names = {}
    for actor, (sentence, text), (code, emotion) in itertools.product(
        range(1001, 1092), cremad._SENTENCE.items(), emotions.items()
    ):
        gender = "female" if str(actor) in cremad._WOMEN else "male"
        graded = sentence == "IEO" and code != "NEU"
        levels = {"LO": "low", "MD": "medium", "HI": "high"} if graded else {"XX": ""}
        for level, intensity in levels.items():
            row = make_row(f"cremad-{actor}", gender, emotion, text, intensity=intensity)
            names[f"{actor}_{sentence}_{code}_{level}"] = row
    return names | {"1040_ITH_SAD_X": names["1040_ITH_SAD_XX"]}


def savee_names() -> dict[str, dict]:
    codes = dict(a="angry", d="disgust", f="fear", h="happy", n="neutral", sa="sad", su="surprise")
    return {
        f"{who}_{code}{number:02}": make_row(f"savee-{who}", "male", emotion)
        for who in ("DC", "JE", "JK", "KL")
        for code, emotion in codes.items()
        for number in range(1, 31 if code == "n" else 16)
    }


def emodb_names() -> dict[str, dict]:
    emotions = ("angry", "boredom", "disgust", "fear", "happy", "sad", "neutral")
    sexes = {"female": ("08", "09", "13", "14", "16"), "male": ("03", "10", "11", "12", "15")}
    return {
        f"{who}{sentence}{letter}{take}": make_row(
            f"emodb-{who}", gender, emotion, text, language="de"
        )
        for gender, people in sexes.items()
        for who in people
        for sentence, text in emodb._SENTENCE.items()
        for letter, emotion in zip("WLEAFTN", emotions, strict=True)
        for take in "abcdef"
    }


def nemo_names() -> dict[str, dict]:
    codes = dict(anger="angry", happiness="happy", sadness="sad", surprised="surprise")
    codes |= {emotion: emotion for emotion in ("fear", "neutral")}
    sexes = {"female": ("EB0", "IC0", "KD0", "MK0"), "male": ("KS0", "MP0", "SM0", "TP0", "WR0")}
    return {
        f"{who}_{code}_{number}": make_row(
            f"nemo-{who}", gender, emotion, f"sentence {number}", language="pl"
        )
        for gender, people in sexes.items()
        for who in people
        for code, emotion in codes.items()
        for number in range(1, 91)
    }


RULES = {
    "ravdess": (ravdess.parse_name, ravdess_names()),
    "tess": (tess.parse_name, tess_names()),
    "cremad": (cremad.parse_name, cremad_names()),
    "savee": (savee.parse_name, savee_names()),
    "emodb": (emodb.parse_name, emodb_names()),
    "nemo": (nemo.parse_name, nemo_names()),
}
#: Characters that stand in the names, and some that look like them.
NEAR = string.ascii_letters + string.digits + "_- .\n０٣Аа"


def read(parse, name: str) -> dict | None:
    """The row as the table has it, None when there is none."""
    parsed = parse(name)
    if parsed is None or not parsed[1]["corpus"]:  # the films of RAVDESS
        return None
    return {**dict.fromkeys(FIELDS, ""), "channel": "speech", **parsed[1]}


@pytest.mark.parametrize("name", RULES)
def test_every_name_of_the_rule_is_read_right(name):
    parse, names = RULES[name]
    assert {stem: read(parse, stem) for stem in names} == names
    assert len({parse(stem)[0] for stem in names}) == len(names) - (name in ("tess", "cremad"))
    # What was published is all of the rule, but for 20 clips of CREMA-D, 379 of nEMO and most takes
    # of EmoDB.
    published = sum(corpus.n_clips for key, corpus in CORPORA.items() if key.startswith(name))
    unpublished = {"tess": 1, "cremad": 21, "emodb": 3665, "nemo": 379}
    assert len(names) - published == unpublished.get(name, 0)
    women = {row["speaker"] for row in names.values() if row["gender"] == "female"}
    n_women = {"ravdess": 12, "tess": 2, "cremad": 43, "savee": 0, "emodb": 5, "nemo": 4}
    assert len(women) == n_women[name]


@given(data=st.data())
@pytest.mark.parametrize("name", [name for name in RULES if name != "tess"])  # which takes any word
def test_a_name_that_is_nearly_right_is_refused_or_another_clip(name, data):
    parse, names = RULES[name]
    stem = data.draw(st.sampled_from(sorted(names)))
    at = data.draw(st.integers(0, len(stem)))
    cut = data.draw(st.integers(0, 1))
    other = stem[:at] + data.draw(st.sampled_from(["", *NEAR])) + stem[at + cut :]
    assert read(parse, other) == names.get(other)


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
    parse, names = RULES[name]
    assert not [stem for stem in stems.split() if stem in names or parse(stem) is not None]


@given(stem=st.text(max_size=25))
def test_any_text_is_a_name_or_none(stem):
    for parse, names in RULES.values():
        assert read(parse, stem) == names.get(stem)


@given(stems=st.lists(st.from_regex(r"[A-Za-z0-9_\- ]{1,20}", fullmatch=True), max_size=6))
def test_every_file_is_in_the_table_or_left_out(tmp_path_factory, stems):
    root = tmp_path_factory.mktemp("any")
    names = ["1001_DFA_ANG_XX", "DC_a01", "03a01Wa", "03-01-06-01-02-01-12", "OAF_back_ps"]
    touch(root, *(f"{stem}.wav" for stem in [*stems, *names]))
    touch(root, "DC/su15.wav")
    files = [str(path) for path in find_audio(root)]
    for corpus in (cremad.CORPUS, savee.CORPUS, emodb.CORPUS, ravdess.SPEECH, tess.CORPUS):
        listing = corpus.load(root)
        listed = [*listing.clips["path"], *listing.left_out["path"]]
        other_part = [path for path in files if "03-02-" in path and corpus == ravdess.SPEECH]
        assert sorted([*listed, *other_part]) == files


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
        assert row == {"path": str(path), **RULES[name][1][stem]}
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
        ("cremad", "crema_d"),
        ("ravdess", "RAVDESS"),
        ("ravdess", "ravdess-emotional-speech-audio"),
        ("savee", "Savee"),
        ("tess", "TESS Toronto emotional speech set data"),
        ("tess", "Toronto emotional speech set (TESS)"),
        ("emodb", "Emo-DB"),
        ("emodb", "berlin-database-of-emotional-speech-emodb"),
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


@pytest.mark.parametrize(
    "folder", ["four-in-one", "Four in One", "speech-emotion-recognition-en", "."]
)
def test_four_in_one_keeps_the_names_of_its_corpora(home, folder):
    touch(home / folder, *FOUR.values(), "Savee/stray.wav", "Tess/again/OAF_back_ps.wav")
    listing = load_listing("four-in-one")
    table = listing.clips
    assert sorted(table["corpus"]) == sorted(FOUR)
    assert sorted(table["path"]) == sorted(str(home / folder / path) for path in FOUR.values())
    assert listing.paths("unparsed") == [str(home / folder / "Savee/stray.wav")]
    assert len(listing.paths("copy")) == 1


def test_corpora_are_found_by_name_in_the_four_in_one_layout(home):
    touch(home, *FOUR.values())
    for name, path in FOUR.items():
        assert load_corpora(name)["path"].tolist() == [str(home / path)]
    assert parse_names("all") == sorted(FOUR)
    assert load_corpora("all").equals(load_corpora("four-in-one"))


def test_four_in_one_is_not_counted_beside_its_corpora(home):
    touch(home, *FOUR.values())
    for names in ("four-in-one,tess", "ravdess,four-in-one"):
        with pytest.raises(UserError, match="given twice"):
            load_corpora(names)


def test_four_in_one_needs_all_four_where_no_folder_is_called_so(home):
    touch(home, *list(FOUR.values())[:3])
    with pytest.raises(UserError, match="four-in-one"):
        load_corpora("four-in-one")


def test_four_in_one_splits_by_the_published_folds_of_its_corpora(home):
    names = [f"Ravdess/{stem}.wav" for stem in RULES["ravdess"][1] if stem.startswith("03-01-")]
    names += [f"Crema/{stem}.wav" for stem in list(RULES["cremad"][1])[:7442]]
    names += [f"Savee/{stem}.wav" for stem in RULES["savee"][1]]
    names += [f"Tess/{stem}.wav" for stem in RULES["tess"][1] if stem != "OA_bite_neutral"]
    touch(home, *names)
    table = load_corpora("four-in-one")
    assert len(table) == 12162 == four_in_one.CORPUS.n_clips
    tested = table[make_split(table, fold=1) == "test"]
    assert set(tested.loc[tested["corpus"] == "ravdess", "speaker"]) == {
        *("ravdess-01", "ravdess-11", "ravdess-20", "ravdess-21")
    }
    assert set(tested["corpus"]) == set(FOUR)


# --- all of them ---


def test_all_is_every_corpus_of_people_that_is_there(home):
    touch(home, "emodb/03a01Wa.wav", "tess/OAF_back_ps.wav", "ravdess/03-02-03-01-01-01-01.wav")
    touch(home, "cremad/AudioWAV/1001_DFA_ANG_XX.wav", "demo/v01_neutral_back.wav", "x/DC_a01.wav")
    names = parse_names("all")
    assert names == ["cremad", "emodb", "ravdess-song", "tess"]
    assert sorted(set(load_corpora("all")["corpus"])) == names
    assert describe_corpora("all").index.tolist() == names
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


def test_five_emotions_are_in_every_corpus_of_people():
    people = [corpus for corpus in CORPORA.values() if not (corpus.generated or corpus.parts)]
    shared = set.intersection(*(set(corpus.counts) for corpus in people))
    assert shared == {"neutral", "happy", "sad", "angry", "fear"}


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


@pytest.mark.corpora
def test_the_published_misspelling_is_there(real_data):
    stems = {Path(path).stem for path in load_corpora("tess")["path"]}
    assert "OA_bite_neutral" in stems and "OAF_bite_neutral" not in stems
