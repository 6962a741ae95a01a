"""Corpora are found by name and loaded into one table; own recordings as a CSV or in folders."""

from __future__ import annotations

import csv
import io
import logging
import os
import re
import sys
import unicodedata
import zipfile
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny import touch

from helpers.columns import UTTERANCES
from helpers.corpora import (
    CORPORA,
    Reading,
    load_corpora,
    load_listing,
    locate,
    parse_names,
)
from helpers.corpora.folders import load_folders
from helpers.corpora.labels import share_matrix
from helpers.corpora.manifest import load_manifest
from helpers.corpora.overview import pick_contrast
from helpers.corpora.table import EMOTIONS, find_audio
from helpers.errors import UserError

SPEECH = "03-01-06-01-02-01-12"  # fear, normal, Dogs, actor 12
SONG = "03-02-03-02-01-02-07"  # happy, strong, Kids, actor 7


@pytest.fixture
def home(tmp_path, monkeypatch):
    """An empty data folder that SER_DATA points to; loaders read names only, files are empty."""
    monkeypatch.setenv("SER_DATA", str(tmp_path))
    return tmp_path


def write_csv(root: Path, text: str, *, name: str = "own.csv", encoding: str = "utf-8") -> Path:
    (root / name).write_bytes(text.encode(encoding))
    return root / name


def write_sheet(path: Path, rows: list[list[str]]) -> None:
    """The least that Excel would open."""
    main = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
    relations = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
    package = "http://schemas.openxmlformats.org/package/2006/relationships"
    cell = '<c t="inlineStr"><is><t>{}</t></is></c>'.format
    lines = "".join(f"<row>{''.join(map(cell, row))}</row>" for row in rows)
    sheets = "".join(f'<sheet name="{n}" sheetId="{n}" r:id="r{n}"/>' for n in "12")
    files = {
        "_rels/.rels": f'<Relationships xmlns="{package}"><Relationship Id="r" Type="{relations}'
        '/officeDocument" Target="xl/workbook.xml"/></Relationships>',
        "xl/workbook.xml": f'<workbook xmlns="{main}" xmlns:r="{relations}"><sheets>{sheets}'
        "</sheets></workbook>",
        "xl/_rels/workbook.xml.rels": f'<Relationships xmlns="{package}">'
        + "".join(
            f'<Relationship Id="r{n}" Type="{relations}/worksheet" Target="sheet{n}.xml"/>'
            for n in "12"
        )
        + "</Relationships>",
    }
    for n in "12":
        body = f"<sheetData>{lines}</sheetData>"
        files[f"xl/sheet{n}.xml"] = f'<worksheet xmlns="{main}">{body}</worksheet>'
    with zipfile.ZipFile(path, "w") as book:
        for name, text in files.items():
            book.writestr(name, f'<?xml version="1.0" encoding="UTF-8"?>{text}')


# --- the registry ---


def test_every_corpus_describes_itself():
    people = ["cremad", "emodb", "nemo", "ravdess", "ravdess-song", "savee", "tess"]
    assert list(CORPORA) == ["demo", *people]
    for name, corpus in CORPORA.items():
        assert corpus.name == name
        parts = (corpus.title, corpus.licence, corpus.citation, corpus.url, corpus.layout)
        assert all(parts)
        assert corpus.folder in corpus.layout
        assert str(corpus.n_clips) in corpus.layout
        assert set(corpus.counts) <= set(EMOTIONS)
        assert set(corpus.codes.values()) == (set(corpus.counts) if corpus.codes else set())


@pytest.mark.parametrize("name", [n for n, c in CORPORA.items() if not c.generated])
@pytest.mark.parametrize("there", [None, "empty", "stray"])
def test_missing_corpus_says_where_and_how(home, name, there):
    corpus = CORPORA[name]
    root = home / corpus.folder
    if there:
        root.mkdir()
    if there == "stray":
        touch(root, "holiday.wav")
    with pytest.raises(UserError) as raised:
        load_corpora(name)
    message = str(raised.value)
    wanted = [corpus.title, str(root), corpus.url, corpus.licence, "SER_DATA", "--corpora demo"]
    wanted += [corpus.layout]
    wanted += ["holiday.wav"] if there == "stray" else []
    assert [part for part in wanted if part not in message] == []


def test_unknown_name_lists_the_known(home):
    with pytest.raises(UserError, match="unknown corpus 'ravdes': known are demo, cremad, "):
        load_corpora("ravdes")
    for nothing in ("", " , ", []):
        with pytest.raises(UserError, match="no corpus named"):
            load_corpora(nothing)
    for odd in ("a\0b", "x" * 5000):
        with pytest.raises(UserError, match="unknown corpus"):
            load_corpora(odd)


def test_what_is_made_lies_where_made_things_lie(home, monkeypatch):
    monkeypatch.setenv("SER_OUTPUTS", str(home / "outputs"))
    assert locate(CORPORA["demo"]) == home / "outputs/.cache/demo"


def test_several_corpora_make_one_sorted_table(home, caplog):
    touch(home, f"ravdess/Actor_12/{SPEECH}.wav", f"ravdess/Actor_07/{SONG}.wav")
    touch(home, "tess/YAF_sad/YAF_dog_sad.wav", "ravdess/stray.wav")
    for names in ("tess,ravdess-song, ravdess", ["ravdess", "tess", "ravdess-song"]):
        table = load_corpora(names)
        assert list(table.columns) == UTTERANCES
        assert table.index.tolist() == [0, 1, 2]
        assert table["path"].is_monotonic_increasing
        assert table["corpus"].tolist() == ["ravdess-song", "ravdess", "tess"]
        assert table["duration_s"].isna().all() and table["duration_s"].dtype == "float64"
    # Both parts of RAVDESS meet it; each call reports it once.
    said = "left out 1 files (no label in their names or folders): stray.wav"
    assert [m for m in caplog.messages if "left out" in m] == [said] * 2


def test_one_corpus_twice_is_refused(home):
    touch(home, "tess/YAF_dog_sad.wav", "a/own/sad/x.wav", "b/own/happy/x.wav")
    for names in ("tess,tess", [home / "a/own", home / "b/own"]):
        with pytest.raises(UserError, match="given twice"):
            load_corpora(names)
    touch(home, "elsewhere/tess/sad/x.wav")
    with pytest.raises(UserError, match="may not be called 'tess'.*rename"):
        load_corpora(str(home / "elsewhere/tess"))


def test_parse_names_makes_own_paths_absolute(home, monkeypatch):
    touch(home, "own/sad/x.wav", "a, b/sad/x.wav", "here/sad/x.wav")
    monkeypatch.chdir(home / "here")
    assert parse_names("tess, own,.") == ["tess", str(home / "own"), str(home / "here")]
    assert parse_names(str(home / "a, b")) == [str(home / "a, b")]
    assert load_corpora(str(home / "a, b")).loc[0, "corpus"] == "a, b"


def test_left_out_files_are_named_once_in_the_log(home, caplog):
    touch(home, f"ravdess/{SPEECH}.wav", *(f"ravdess/{n}.wav" for n in "abcde"))
    with caplog.at_level(logging.WARNING):
        load_corpora("ravdess")
    assert len(load_listing("ravdess").paths("unparsed")) == 5
    (message,) = [m for m in caplog.messages if "no label" in m]
    assert message.startswith("left out 5 files") and message.endswith("a.wav, b.wav, c.wav, …")
    assert any("1 clips" in m and "1440" in m for m in caplog.messages)


# --- the search for files ---


def test_find_audio_knows_suffixes_and_skips_what_is_hidden(tmp_path):
    touch(tmp_path, "b.WAV", "a/x.flac", "a/y.m4a", "notes.txt", "._b.wav", ".git/x.wav", "wav")
    touch(tmp_path, "__MACOSX/x.wav")
    names = [path.relative_to(tmp_path).as_posix() for path in find_audio(tmp_path)]
    assert names == ["a/x.flac", "a/y.m4a", "b.WAV"]
    assert find_audio(tmp_path / "none") == []


@pytest.mark.skipif(sys.platform == "win32", reason="links need a privilege there")
def test_find_audio_follows_links_and_survives_circles(tmp_path):
    touch(tmp_path, "real/x.wav", "root/y.wav")
    (tmp_path / "root/link").symlink_to(tmp_path / "real")
    (tmp_path / "real/back").symlink_to(tmp_path / "root")
    assert [path.name for path in find_audio(tmp_path / "root")] == ["x.wav", "y.wav"]


# --- own data: a manifest ---

HEADER = "path,emotion,speaker,gender,intensity,text,channel,language\n"


def test_manifest_reads_every_column(tmp_path):
    touch(tmp_path, "sub/a.wav", "b.mp3")
    path = write_csv(
        tmp_path,
        HEADER + 'sub/a.wav, Happy ,Anna,W,strong,"Guten Tag, du",song,de\nb.mp3,喜び,,,,,,\n',
    )
    table = load_corpora(str(path))
    assert list(table.columns) == UTTERANCES
    assert table["path"].tolist() == [str(tmp_path / "b.mp3"), str(tmp_path / "sub/a.wav")]
    assert table.loc[1].drop(["path", "duration_s"]).tolist() == [
        *("own", "own-Anna", "female", "happy", "strong", "Guten Tag, du", "song", "de")
    ]
    assert table.loc[0].drop(["path", "duration_s"]).tolist() == [
        *("own", "own-unknown", "", "喜び", "", "", "speech", "")
    ]
    assert load_listing(str(path)).left_out.empty


def test_manifest_names_match_in_either_unicode_form(tmp_path):
    for form, other in (("NFC", "NFD"), ("NFD", "NFC")):
        folder = tmp_path / form
        touch(folder, unicodedata.normalize(form, "é.wav"), "b.wav")
        text = unicodedata.normalize(other, "path,emotion\né.wav,né\nb.wav,né\n")
        table = load_manifest(write_csv(folder, text)).clips
        assert table["emotion"].tolist() == [unicodedata.normalize("NFC", "né")] * 2


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name,emotion\na.wav,sad\n", r"no column path; its header is 'name,emotion'"),
        ("a.wav,sad\n", "no column path and no column emotion"),
        ("", "no column path"),
        ("path,emotion\n", "a header without rows"),
        ("path,emotion\na.wav,\nb.wav,sad\na.wav,  \n", r"2 rows with an empty emotion: row 2, 4"),
        ("path,emotion\n,sad\n", "an empty path: row 2"),
        ("path,emotion\na.wav,sad\na.wav,happy\n", "a.wav is emotion sad in row 2 and happy in"),
        ("path,emotion\na.wav,sad, really\n", "more cells than the header .*row 2"),
        ("path,emotion\nx.wav,sad\ny.wav,sad\n", "none of its 2 files is there, e.g. .*x.wav"),
        ('path,emotion\n"a.wav,sad\n', "an empty emotion|not a CSV"),
        ("path,emotion,split\na.wav,sad,train\nb.wav,sad,\n", "no split, as others have: row 3"),
        ("path,emotion,split\na.wav,sad,both\nb.wav,sad,\n", "another split than .*: row 2"),
    ],
)
def test_manifest_errors_name_the_file_and_the_row(tmp_path, text, message):
    touch(tmp_path, "a.wav", "b.wav")
    with pytest.raises(UserError, match=message) as raised:
        load_manifest(write_csv(tmp_path, text))
    assert str(tmp_path / "own.csv") in str(raised.value)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "cp1252", "xlsx"])
@pytest.mark.parametrize("first", ["", "sep=;\n"])
def test_manifest_as_german_excel_writes_it(tmp_path, caplog, encoding, first):
    touch(tmp_path, "ben/fröhlich.wav", "ben/müde.wav")
    rows = [["path", "emotion", "start_s"], ["ben\\fröhlich.wav", "fröhlich", ""]]
    rows += [["ben\\müde.wav", "müde", "0,5"]]
    path = tmp_path / f"own.{encoding if encoding == 'xlsx' else 'csv'}"
    if encoding == "xlsx":
        write_sheet(path, rows)
    else:
        path.write_bytes((first + "\n".join(map(";".join, rows))).encode(encoding))
    clips = load_manifest(path).clips
    assert clips["emotion"].tolist() == ["fröhlich", "müde"]
    assert clips["path"][1].endswith("müde.wav#t=0.5")
    assert ("sheets that are not used: 2" in caplog.text) == (encoding == "xlsx")


@pytest.mark.parametrize("content", [b"\0\1\2", b"path,emotion\na.wav,\x81\n", b"PK\3\4 cut off"])
def test_what_is_no_list_says_how_to_save_it(tmp_path, content):
    for name in ("own.csv", "own.xlsx") if content.startswith(b"PK") else ("own.csv",):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(UserError, match="no column path|Save it|save it"):
            load_manifest(tmp_path / name)


def test_a_workbook_without_a_sheet_is_no_list(tmp_path):
    write_sheet(tmp_path / "full.xlsx", [["path", "emotion"]])
    with zipfile.ZipFile(tmp_path / "full.xlsx") as full:
        parts = {name: full.read(name) for name in full.namelist()}
    parts["xl/workbook.xml"] = re.sub(rb"<sheet .*?/>", b"", parts["xl/workbook.xml"])
    with zipfile.ZipFile(tmp_path / "own.xlsx", "w") as book:
        for name, content in parts.items():
            book.writestr(name, content)
    with pytest.raises(UserError, match="no such table"):
        load_manifest(tmp_path / "own.xlsx")


def test_columns_have_several_names_and_the_unknown_are_named(tmp_path, caplog):
    touch(tmp_path, "a.wav", "b.wav")
    text = "filename,label,subject,sex,rating,age\na.wav,sad,Anna,F,3,60\nb.wav,joy,Ben,M,2,61\n"
    clips = load_manifest(write_csv(tmp_path, text)).clips
    assert clips["speaker"].tolist() == ["own-Anna", "own-Ben"]
    assert clips["gender"].tolist() == ["female", "male"]
    assert "columns that are not used: rating, age" in caplog.text
    for header in ("path,emotion,emotion", "path,emotion,label", "file,path,emotion"):
        with pytest.raises(UserError, match="columns .* and .* both mean"):
            load_manifest(write_csv(tmp_path, f"{header}\na.wav,sad,sad\n"))


def test_parts_and_channels_of_a_file_are_clips_of_their_own(tmp_path):
    touch(tmp_path, "a.wav")
    text = "path,emotion,start_s,end_s,channel_index\n"
    rows = ["a.wav,sad,0,1.5,", "a.wav,happy,1.5,,", "a.wav,sad,,,1", "a.wav,fear,2,3,left"]
    clips = load_manifest(write_csv(tmp_path, text + "\n".join(rows))).clips
    parts = dict(zip(clips["path"].str.partition("#")[2], clips["emotion"], strict=True))
    assert parts == {
        "t=0,1.5": "sad",
        "t=1.5": "happy",
        "channel=1": "sad",
        "t=2,3&channel=0": "fear",
    }
    for wrong in ("1,1,", "-1,2,", "x,2,", "nan,1,", ",,-1", ",,0.5"):
        with pytest.raises(UserError, match=r"1 rows with start_s, end_s or channel_index.* row 2"):
            load_manifest(write_csv(tmp_path, f"{text}a.wav,sad,{wrong}\n"))


@pytest.mark.parametrize(
    ("column", "values"),
    [("speaker", ("anna", "ben")), ("split", ("train", "test")), ("text", ("Hi", "Ho"))],
)
def test_rows_that_contradict_each_other_are_named(tmp_path, column, values):
    touch(tmp_path, "a.wav")
    rows = "".join(f"a.wav,sad,{value}\n" for value in values)
    said = f"a.wav is {column} {values[0]} in row 2 and {values[1]} in row 3. Keep one of the rows"
    with pytest.raises(UserError, match=said):
        load_manifest(write_csv(tmp_path, f"path,emotion,{column}\n{rows}"))


def test_raters_who_disagree_become_shares_when_asked_for(tmp_path):
    touch(tmp_path, "a.wav", "b.wav")
    path = write_csv(tmp_path, "path,emotion\na.wav,sad\na.wav,fear\na.wav,sad\nb.wav,happy\n")
    with pytest.raises(UserError, match="a.wav is emotion sad in row 2 and fear .*--raters share"):
        load_manifest(path)
    assert load_listing(str(path), reading=Reading(raters="share")).left_out.empty
    clips = load_corpora(str(path), Reading(raters="share"))
    assert clips["emotion"].tolist() == ["sad", "happy"]
    assert share_matrix(clips, ["happy", "fear", "sad"]).round(2).tolist() == [
        [0, pytest.approx(0.33), pytest.approx(0.67)],
        [1, 0, 0],
    ]


@given(text=st.text(max_size=200))
def test_any_text_is_a_manifest_or_a_corpus_error(tmp_path_factory, text):
    root = tmp_path_factory.mktemp("csv")
    touch(root, "a.wav")
    for start in ("", "path,emotion\na.wav,sad\n", "path;emotion\na.wav;"):
        path = root / "own.csv"
        path.write_text(start + text, encoding="utf-8", errors="replace", newline="")
        try:
            table = load_manifest(path).clips
        except UserError:
            continue
        assert (table["emotion"] != "").all() and table["path"].map(os.path.isfile).all()


def test_manifest_is_called_after_its_folder(tmp_path):
    for folder in ("one", "two"):
        touch(tmp_path / folder, "a.wav")
        write_csv(tmp_path / folder, "path,emotion\na.wav,sad\n", name="manifest.csv")
    clips = load_corpora([tmp_path / "one/manifest.csv", tmp_path / "two/manifest.csv"])
    assert clips["corpus"].tolist() == ["one", "two"]


def test_manifest_lists_a_file_twice_it_counts_once(tmp_path):
    touch(tmp_path, "a.wav", "b.wav")
    text = "path,emotion\na.wav,sad\n./a.wav,sad\nb.wav,happy\n"
    listing = load_manifest(write_csv(tmp_path, text))
    assert len(listing.clips) == 2 and listing.paths("repeated") == [str(tmp_path / "a.wav")]


CELLS = {
    "path": st.sampled_from(["a.wav", "b.wav", "./a.wav", "gone.wav", "", "sub\\c.wav", "é.wav"]),
    "emotion": st.sampled_from(["sad", "Happy", "喜び", "", "$x$", "a,b"]),
    "speaker": st.sampled_from(["anna", "Anna", "01", "1", ""]),
    "split": st.sampled_from(["train", "test", "dev", ""]),
    "start_s": st.sampled_from(["", "0", "0.5", "1,5", "x"]),
    "end_s": st.sampled_from(["", "1", "2.5"]),
    "note": st.text(max_size=5),
}


@settings(max_examples=150, deadline=None)
@given(
    columns=st.lists(st.sampled_from(list(CELLS)[2:]), unique=True),
    rows=st.lists(st.fixed_dictionaries(CELLS), min_size=1, max_size=8),
    encoding=st.sampled_from(["utf-8", "utf-16"]),
)
def test_every_row_of_a_list_is_a_clip_or_counted_or_refused(
    tmp_path_factory, columns, rows, encoding
):
    root = touch(tmp_path_factory.mktemp("list"), "a.wav", "b.wav", "sub/c.wav", "é.wav")
    file = io.StringIO()
    writer = csv.DictWriter(file, ["path", "emotion", *columns], extrasaction="ignore")
    writer.writeheader()
    writer.writerows(rows)
    path = root / "own.csv"
    path.write_text(file.getvalue(), encoding=encoding, errors="replace", newline="")
    try:
        listing = load_manifest(path)
    except UserError as error:
        assert str(path) in str(error)
        return
    written = [row for row in rows if any(row[name].strip() for name in writer.fieldnames)]
    assert len(listing.clips) + len(listing.left_out) == len(written)
    assert set(listing.left_out["why"]) <= {"missing", "repeated"}


# --- own data: folders ---


def test_folders_are_emotions_in_any_script(tmp_path):
    root = tmp_path / "mine"
    touch(root, "喜び/a.wav", "Freude/b.m4a", "HAPPY/c.ogg", "happy/d.wav", "sad/notes.txt")
    touch(root, unicodedata.normalize("NFD", "Ärger") + "/e.wav")
    table = load_corpora(str(root))
    assert set(table["corpus"]) == {"mine"} and set(table["speaker"]) == {"mine-unknown"}
    found = {Path(row.path).name: row.emotion for row in table.itertuples()}
    assert found == {
        "a.wav": "喜び",
        "b.m4a": "Freude",
        "c.ogg": "happy",
        "d.wav": "happy",
        "e.wav": unicodedata.normalize("NFC", "Ärger"),
    }


def test_folder_without_emotions_says_what_is_expected(tmp_path):
    for root in (touch(tmp_path / "flat", "a.wav", "b.wav"), touch(tmp_path / "none", "a/x.txt")):
        with pytest.raises(UserError, match="expected one folder per emotion") as raised:
            load_folders(root)
        assert str(root) in str(raised.value)


@pytest.mark.parametrize(
    "name",
    "sure fold seed sha256 split text start_s end_s duration_s file error model protocol predicted "
    "confidence speaker emotion peak_dbfs".split(),
)
def test_an_emotion_called_like_a_column_is_refused(tmp_path, name):
    touch(tmp_path, "own/sad/a.wav", f"own/{name}/b.wav")
    path = write_csv(tmp_path, f"path,emotion\nown/sad/a.wav,{name}\n")
    for own in (path, tmp_path / "own"):
        with pytest.raises(UserError, match=f"emotions may not be called {name}, .*rename them"):
            load_corpora([own])


def test_clips_without_a_speaker_are_counted_once(tmp_path, caplog):
    touch(tmp_path / "mine", "sad/Anna/1.wav", "sad/2.wav", "happy/3.wav", "happy/Bert/4.wav")
    touch(tmp_path / "nobody", "sad/1.wav", "happy/2.wav")
    load_corpora([tmp_path / "mine", tmp_path / "nobody"])
    (said,) = [message for message in caplog.messages if "name no speaker" in message]
    assert f"{tmp_path / 'mine'}: 2 of 4 clips name no speaker (3.wav, 2.wav)" in said


def test_manifest_may_say_the_sides(home):
    touch(home, "1.wav", "2.wav", "3.wav", "own/sad/4.wav")
    rows = "path,emotion,split\n1.wav,sad,Train\n2.wav,sad,dev\n3.wav,happy,test\n"
    csv = write_csv(home, rows, name="sides.csv")
    assert load_corpora(str(csv))["split"].tolist() == ["train", "validation", "test"]
    # Beside a corpus without sides they mean nothing.
    both = load_corpora([csv, home / "own"])
    assert list(both.columns) == UTTERANCES and len(both) == 4
    assert (
        list(load_corpora(str(write_csv(home, "path,emotion,split\n1.wav,sad,\n"))).columns)
        == UTTERANCES
    )


# --- clips worth comparing ---


@pytest.mark.parametrize(
    ("levels", "strongest"),
    [
        (["low", "medium", "high", ""], "high"),
        (["", "medium", "low"], "medium"),
        (["normal", "strong", ""], "strong"),
        (["unheard of", "Low"], "Low"),
    ],
)
def test_contrast_takes_the_most_expressive_take(levels, strongest):
    clips = pd.DataFrame({"intensity": levels, "emotion": "sad", "text": "x", "speaker": "a"})
    assert pick_contrast(clips.assign(channel="speech"))["intensity"].tolist() == [strongest]
