"""Splits: no voice on both sides, every clip on exactly one, the same for the same seed."""

from __future__ import annotations

import itertools

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.columns import PROTOCOLS
from helpers.corpora import CORPORA
from helpers.corpora.folds import count_folds, speaker_folds
from helpers.errors import UserError
from helpers.splits import (
    SIDES,
    UNUSED,
    check_split,
    make_split,
    name_files,
    possible_protocols,
)

#: Published test actors of RAVDESS.
FOLDS = CORPORA["ravdess"].folds
CHANCE = "random-80-20"
EMOTIONS = ("neutral", "happy", "sad", "angry")


def make_clips(
    corpus: str, speakers: list[str], *, texts: int = 3, emotions: tuple[str, ...] = EMOTIONS
) -> pd.DataFrame:
    """Every speaker says every text with every emotion; women and men by turns."""
    rows = [
        {
            "path": f"/{corpus}/{speaker}_{text}_{emotion}.wav",
            "corpus": corpus,
            "speaker": speaker,
            "gender": ("female", "male")[place % 2],
            "emotion": emotion,
            "text": f"text {text}",
            "channel": "song" if corpus.endswith("song") else "speech",
        }
        for place, speaker in enumerate(speakers)
        for text, emotion in itertools.product(range(texts), emotions)
    ]
    return pd.DataFrame(rows)


def label(emotions: list[str]) -> pd.DataFrame:
    return pd.DataFrame({"path": map(str, range(len(emotions))), "emotion": emotions})


def join(*tables: pd.DataFrame) -> pd.DataFrame:
    return pd.concat(tables).sort_values("path", ignore_index=True)


def ravdess(corpus: str = "ravdess", actors=range(1, 25)) -> pd.DataFrame:
    return make_clips(corpus, [f"ravdess-{actor:02d}" for actor in actors], texts=2)


def speakers_on(table: pd.DataFrame, split: pd.Series, side: str) -> set[str]:
    return set(table.loc[split == side, "speaker"])


def assert_disjoint(table: pd.DataFrame, split: pd.Series) -> None:
    assert split.index.equals(table.index)
    assert set(split) == set(SIDES)
    tested = speakers_on(table, split, "test")
    assert not tested & (
        speakers_on(table, split, "train") | speakers_on(table, split, "validation")
    )


# --- by speaker ---


@pytest.mark.parametrize("fold", range(1, 7))
def test_ravdess_has_the_published_folds(fold):
    table = ravdess()
    split = make_split(table, fold=fold)
    for side, k in (("test", fold), ("validation", fold % 6 + 1)):
        assert speakers_on(table, split, side) == set(FOLDS[k - 1])
    assert len(speakers_on(table, split, "train")) == 16


def test_ravdess_speech_and_song_share_actors_and_never_cross():
    # Actor 18 has no song.
    song = ravdess("ravdess-song", [actor for actor in range(1, 25) if actor != 18])
    table = join(ravdess(), song)
    for fold in range(1, 7):
        split = make_split(table, fold=fold)
        assert_disjoint(table, split)
        published = set(FOLDS[fold - 1])
        assert speakers_on(table, split, "test") == published
        alone = make_split(song, fold=fold)
        assert speakers_on(song, alone, "test") == published - {"ravdess-18"}


def test_own_data_with_a_name_like_emodb_is_split_as_any_other():
    """EmoDB is tested on one speaker at a time; twelve people of one's own are not."""
    speakers = [f"emodb-mine-{n:02}" for n in range(12)]
    folds = speaker_folds(make_clips("emodb-mine", speakers))
    assert [len(fold) for fold in folds] == [2] * 6


def test_fold_counts_around():
    table = make_clips("own", ["own-a", "own-b", "own-c"])
    splits = [make_split(table, fold=fold) for fold in range(1, 7)]
    for first, again, name in zip(splits, splits[3:], "abc", strict=False):
        pd.testing.assert_series_equal(first, again)
        assert speakers_on(table, first, "test") == {f"own-{name}"}
    assert speakers_on(table, splits[2], "validation") == {"own-a"}


def test_two_speakers_validate_on_whole_texts_of_the_training_speaker():
    table = make_clips("tess", ["tess-oaf", "tess-yaf"], texts=20)
    split = make_split(table)
    assert_disjoint(table, split)
    assert speakers_on(table, split, "test") == {"tess-oaf"}
    assert speakers_on(table, split, "validation") == {"tess-yaf"}
    texts = {side: set(table.loc[split == side, "text"]) for side in SIDES}
    assert len(texts["validation"]) == 2 and not texts["validation"] & texts["train"]
    others = [make_split(table, seed=seed) for seed in range(1, 6)]
    assert any(not split.equals(other) for other in others)  # the seed chooses the texts …
    for other in others:  # … and nothing else
        assert (other == "test").equals(split == "test")


def test_two_speakers_with_few_texts_validate_on_a_tenth_of_each_emotion():
    table = make_clips("own", ["own-a", "own-b"], texts=9)
    table = join(table, make_clips("own", ["own-b"], texts=1, emotions=("boredom",)))
    split = make_split(table)
    counts = table[split == "validation"]["emotion"].value_counts()
    assert counts.to_dict() == dict.fromkeys(EMOTIONS, 1)
    assert set(split[table["emotion"] == "boredom"]) == {"train"}  # its only clip


@pytest.mark.parametrize("speakers", [["mine-unknown"], ["mine-anna", "mine-unknown"]])
def test_lone_speaker_is_explained(speakers):
    table = make_clips("mine", speakers, texts=5)
    with pytest.raises(UserError) as caught:
        make_split(table)
    named = f"mine: found one speaker ({speakers[0]})"
    for part in (named, "column `speaker`", "random-80-20"):
        assert part in str(caught.value)
    assert possible_protocols(table) == ["random-80-20"]
    assert possible_protocols(ravdess()) == PROTOCOLS[:2]


def test_too_little_is_said_before_any_work():
    for table in (make_clips("mine", ["a"], emotions=("sad",), texts=99), make_clips("x", ["a"])):
        with pytest.raises(UserError, match=r"expected at least 20 clips of two.*--corpora mine,"):
            possible_protocols(table)


def test_an_emotion_that_nobody_says_in_training_is_said(caplog):
    table = make_clips("mine", ["anna", "ben", "cleo", "dora"])
    rare = (table["speaker"] == "anna") & (table["emotion"] == "sad")
    table.loc[rare, "emotion"] = "surprise"
    make_split(table, fold=1)
    assert "nobody in training says surprise, so 3 test clips cannot be named right" in caplog.text


def test_lone_speaker_beside_another_corpus_helps_to_train():
    table = join(ravdess(), make_clips("mine", ["mine-unknown"]))
    split = make_split(table)
    assert set(split[table["corpus"] == "mine"]) == {"train"}


def test_corpora_of_one_speaker_each_are_split_together():
    table = join(*(make_clips(name, [f"{name}-unknown"]) for name in ("anna", "bob", "cleo")))
    split = make_split(table)
    assert_disjoint(table, split)
    assert speakers_on(table, split, "test") == {"anna-unknown"}
    assert speakers_on(table, split, "validation") == {"bob-unknown"}


@st.composite
def utterance_tables(draw) -> pd.DataFrame:
    """One to three corpora of one to fourteen speakers, sexes and counts as they come."""
    rows = []
    for corpus in ("alpha", "beta-x", "gamma")[: draw(st.integers(1, 3))]:
        for speaker in range(draw(st.integers(1, 14))):
            gender = draw(st.sampled_from(["female", "male", ""]))
            n_clips = draw(st.integers(1, 6))
            rows += [
                {
                    "corpus": corpus,
                    "speaker": f"{corpus}-{speaker}",
                    "gender": gender,
                    "emotion": EMOTIONS[clip % 4],
                    "text": draw(st.sampled_from(["", "dog", "kids"])),
                }
                for clip in range(n_clips)
            ]
    table = pd.DataFrame(rows)
    return table.assign(path=table.index.astype(str))


@settings(max_examples=60)
@given(table=utterance_tables(), fold=st.integers(1, 9), seed=st.integers(0, 5))
def test_no_speaker_ever_crosses(table, fold, seed):
    try:
        split = make_split(table, fold=fold, seed=seed)
    except UserError:
        # Only what truly cannot be split: one speaker, or two with hardly a clip to spare.
        assert table.groupby("corpus")["speaker"].nunique().max() <= 2
        return
    assert_disjoint(table, split)
    pd.testing.assert_series_equal(split, make_split(table, fold=fold, seed=seed))
    shuffled = table.sample(frac=1, random_state=seed)  # the order does not choose who is tested
    again = make_split(shuffled, fold=fold, seed=seed)
    assert speakers_on(shuffled, again, "test") == speakers_on(table, split, "test")
    by_corpus = table.groupby("corpus")["speaker"].nunique()
    if by_corpus.max() > 2:  # then validation too is on people whom training never heard
        large = table["corpus"].isin(by_corpus[by_corpus > 2].index)
        heard = set(table.loc[large & (split == "train"), "speaker"])
        assert not heard & set(table.loc[large & (split == "validation"), "speaker"])


@given(genders=st.lists(st.sampled_from(["female", "male", ""]), min_size=1, max_size=40))
def test_folds_hold_every_speaker_once_and_mix_the_sexes(genders):
    names = [f"own-{place:02d}" for place in range(len(genders))]
    folds = speaker_folds(pd.DataFrame({"corpus": "own", "speaker": names, "gender": genders}))
    assert sorted(name for fold in folds for name in fold) == names
    if len(names) > 5:
        sizes = [len(fold) for fold in folds]
        assert len(folds) <= 6 and min(sizes) >= 2 and max(sizes) - min(sizes) <= 1
        for gender in set(genders):
            sexes = [sum(genders[names.index(n)] == gender for n in fold) for fold in folds]
            assert max(sexes) - min(sexes) <= 1


# --- by chance ---


@settings(max_examples=25)
@given(
    counts=st.lists(st.integers(5, 60), min_size=1, max_size=4),
    seed=st.integers(0, 2**32 - 1),
)
def test_random_split_is_stratified_and_repeats(counts, seed):
    labels = [emotion for emotion, n in zip(EMOTIONS, counts, strict=False) for _ in range(n)]
    table = label(labels)
    split = make_split(table, protocol=CHANCE, seed=seed)
    assert split.index.equals(table.index) and set(split) == set(SIDES)
    for emotion, n in table["emotion"].value_counts().items():
        sides = split[table["emotion"] == emotion].value_counts()
        assert abs(sides["test"] - 0.2 * n) <= 0.5
        assert sides["validation"] >= 1 and sides["train"] >= 1
    pd.testing.assert_series_equal(split, make_split(table, protocol=CHANCE, seed=seed))
    if len(table) > 50:
        assert not split.equals(make_split(table, protocol=CHANCE, seed=seed + 1))


def test_what_has_fewer_than_five_files_is_only_learned():
    split = make_split(label(["sad"] * 4 + ["happy"] * 50), protocol=CHANCE)
    assert set(split[:4]) == {"train"} and set(split[4:]) == set(SIDES)
    for table in (label(["sad"] * 4), label(["sad"] * 50)[:0]):
        with pytest.raises(UserError, match="no clips"):
            make_split(table, protocol=CHANCE)


@given(n_files=st.integers(5, 30), n_parts=st.integers(1, 6), seed=st.integers(0, 99))
def test_parts_of_a_file_stand_on_one_side(n_files, n_parts, seed):
    paths = [
        f"{file}.wav#t={part},{part + 1}" for file in range(n_files) for part in range(n_parts)
    ]
    table = pd.DataFrame({"path": paths, "emotion": "sad", "text": "", "speaker": "a"})
    sides = make_split(table, protocol=CHANCE, seed=seed)
    given_sides = table.assign(split=["test", *["train"] * (len(table) - 1)])
    given_sides.loc[name_files(table) == "0.wav", "split"] = "test"
    for split in (sides, make_split(given_sides, protocol="own-split", seed=seed)):
        assert (split.groupby(name_files(table)).nunique() == 1).all()


# --- by name ---


def test_unknown_protocol_is_refused():
    with pytest.raises(UserError, match=r"protocol 'leaky': expected one of speaker-.*, random-"):
        make_split(ravdess(), protocol="leaky")


def test_own_split_is_kept_and_comes_first():
    table = make_clips("own", ["own-a", "own-b", "own-c"])
    table["split"] = table["speaker"].map(
        {"own-a": "test", "own-b": "validation", "own-c": "train"}
    )
    assert possible_protocols(table) == ["own-split", "speaker-independent", "random-80-20"]
    assert make_split(table, protocol="own-split").tolist() == table["split"].tolist()
    with pytest.raises(UserError, match="expected a manifest that has one"):
        make_split(table.drop(columns="split"), protocol="own-split")


def test_own_split_without_validation_takes_a_tenth_of_training(caplog):
    table = make_clips("own", ["own-a", "own-b", "own-c"], texts=10)
    table["split"] = (table["text"] == "text 3").map({True: "test", False: "train"})
    split = make_split(table, protocol="own-split")
    assert (split == "test").equals(table["split"] == "test")
    assert split.value_counts().to_dict() == {"train": 96, "test": 12, "validation": 12}
    assert "speakers in training and test: own-a, own-b, own-c" in caplog.text
    with pytest.raises(UserError, match="no clips in the test set"):
        make_split(table.assign(split="train"), protocol="own-split")


def test_check_split_names_who_crosses_and_which_side_is_empty():
    table = make_clips("own", ["own-a", "own-b", "own-c"])
    split = make_split(table)
    crossed = split.copy()
    crossed[table.index[table["speaker"] == "own-c"][0]] = "test"
    with pytest.raises(UserError, match="speakers in training and test: own-c"):
        check_split(table, crossed)
    with pytest.raises(UserError, match="no clips in the validation set"):
        check_split(table, split.replace("validation", "train"))
    for protocol in (CHANCE, "speaker-independent"):
        with pytest.raises(UserError, match="train and validation and test"):
            make_split(table[:0], protocol=protocol)


# --- without a name ---


def test_clips_that_name_no_speaker_are_on_no_side_beside_named_ones():
    """A test speaker may be heard in them, so that they are no further person."""
    named = make_clips("mine", ["mine-anna", "mine-bert", "mine-cleo"])
    table = join(named, make_clips("mine", ["mine-unknown"]), ravdess())
    split, alone = make_split(table), make_split(named)
    assert set(split[table["speaker"] == "mine-unknown"]) == {UNUSED}
    mine = table["corpus"] == "mine"
    for side in SIDES:
        assert speakers_on(table[mine], split[mine], side) == speakers_on(named, alone, side)
    assert count_folds(table[mine]) == 3


# --- by recording ---


def test_a_recording_under_two_names_does_not_cross(caplog):
    table = make_clips("own", ["own-a", "own-b", "own-c"])
    table["sha256"] = [f"{place:03d}" for place in table.index]
    split = make_split(table)
    assert UNUSED not in set(split) and not caplog.text
    tested, learned = (table.index[split == side][0] for side in ("test", "train"))
    table.loc[learned, "sha256"] = table.loc[tested, "sha256"]
    with pytest.raises(UserError, match="the same recording in training and test: /own/"):
        check_split(table, split)
    mended = make_split(table)
    assert mended[learned] == UNUSED and mended[tested] == "test"
    assert mended.drop(learned).equals(split.drop(learned))
    assert table.loc[learned, "path"] in caplog.text


def test_every_speaker_is_tested_once_in_all_folds():
    emodb = make_clips("emodb", [f"emodb-{n:02d}" for n in (3, 8, 9, 10, 11, 12, 13, 14, 15, 16)])
    tess = make_clips("tess", ["tess-oaf", "tess-yaf"], texts=12)
    savee = make_clips("savee", [f"savee-{name}" for name in ("dc", "je", "jk", "kl")])
    for table, n in ((ravdess(), 6), (emodb, 10), (tess, 2), (savee, 4)):
        assert count_folds(table) == n
        folds = range(1, n + 1)
        tested = [speakers_on(table, make_split(table, fold=fold), "test") for fold in folds]
        assert sorted(name for fold in tested for name in fold) == sorted(set(table["speaker"]))
    assert count_folds(join(ravdess(), tess)) == 6
