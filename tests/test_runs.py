"""The run folder: where things lie, whole files only, and what is said when one is missing."""

from __future__ import annotations

import json
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers import runs
from helpers.errors import UserError
from helpers.runs import (
    PROJECT_ROOT,
    Run,
    atomic_folder,
    atomic_write,
    cache_home,
    data_home,
    dump_json,
    find_run,
    fingerprint,
    one_at_a_time,
    open_run,
    outputs_home,
)


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.setenv("SER_OUTPUTS", str(tmp_path))
    return open_run("one")


def test_homes_follow_the_environment(tmp_path, monkeypatch):
    monkeypatch.setenv("SER_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("SER_OUTPUTS", str(tmp_path / "out"))
    assert data_home() == tmp_path / "data"
    assert outputs_home() == tmp_path / "out"
    assert cache_home().parent == tmp_path / "out"
    for name in ("SER_DATA", "SER_OUTPUTS"):
        monkeypatch.setenv(name, "")  # set to nothing is not set, and never the working folder
    assert data_home() == PROJECT_ROOT / "data"
    assert outputs_home() == PROJECT_ROOT / "outputs"
    monkeypatch.delenv("SER_DATA")
    monkeypatch.delenv("SER_OUTPUTS")
    assert data_home() == PROJECT_ROOT / "data"
    assert outputs_home() == PROJECT_ROOT / "outputs"


def test_relative_data_home_is_found_from_the_terminal_and_from_the_project(tmp_path, monkeypatch):
    (tmp_path / "mine").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SER_DATA", "mine")
    assert data_home() == tmp_path / "mine"
    # A notebook's working folder is notebooks/: there the same text means the project's folder.
    monkeypatch.setenv("SER_DATA", "tests")
    assert data_home() == PROJECT_ROOT / "tests"
    monkeypatch.setenv("SER_DATA", "~")
    assert data_home() == Path.home().resolve()


@pytest.mark.parametrize("name", ["", ".", "..", ".cache", "a/b", "/tmp", "../x", "a/"])
def test_run_names_stay_in_the_outputs_folder(name):
    with pytest.raises(UserError, match="expected a plain folder name"):
        open_run(name)


def test_a_plain_name_is_a_run_before_it_is_a_folder_here(run, tmp_path, monkeypatch):
    (tmp_path / "here" / "one").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "here")
    assert find_run("one").folder == tmp_path / "here" / "one"  # nothing else is called so yet
    run.save_json({}, "data.json")
    assert find_run("one").folder == run.folder
    assert find_run("./one").folder == find_run("../here/one").folder == tmp_path / "here" / "one"
    with pytest.raises(UserError, match="two: found no such run, expected .*: one$"):
        find_run("two")


def test_atomic_write_replaces_whole_files(tmp_path):
    target = tmp_path / "deep" / "table.csv"
    with atomic_write(target) as temporary:
        temporary.write_text("new")
        assert temporary.suffix == ".csv" and temporary.parent == target.parent
        assert not target.exists()
    assert target.read_text() == "new"
    assert os.stat(target).st_mode & 0o777 == 0o644
    assert [path.name for path in target.parent.iterdir()] == ["table.csv"]


def test_atomic_write_that_fails_leaves_the_old_file_and_nothing_else(tmp_path):
    target = tmp_path / "table.csv"
    target.write_text("old")
    with pytest.raises(RuntimeError, match="half way"), atomic_write(target) as temporary:
        temporary.write_text("new, but ha")
        raise RuntimeError("half way")
    assert target.read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["table.csv"]


def test_missing_step_names_the_notebook_to_run(run):
    for read in (run.require, run.read_table, run.read_json):
        with pytest.raises(UserError) as caught:
            read("utterances.csv", made_by="01_explore")
        for part in (str(run.path("utterances.csv")), "01_explore.ipynb", "ser run --run one"):
            assert part in str(caught.value)
    assert not run.folder.exists()  # asking makes nothing


def test_damaged_json_names_the_file_and_the_notebook(run):
    run.save_json({"a": 1}, "data.json")
    run.path("data.json").write_text('{"a": ')
    with pytest.raises(UserError, match=r"data\.json is damaged .*01_explore\.ipynb"):
        run.read_json("data.json", made_by="01_explore")


TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0\r"), max_size=12)


@given(emotions=st.lists(TEXT | st.sampled_from(["none", "NA", "nan", "null", "01", "1e3", ""])))
def test_emotion_names_survive_the_table(tmp_path_factory, emotions):
    run = Run(tmp_path_factory.mktemp("run"))
    table = pd.DataFrame({"emotion": emotions, "duration_s": [0.5] * len(emotions)})
    run.save_table(table, "t.csv")
    again = run.read_table("t.csv", made_by="01_explore")
    assert again["emotion"].tolist() == emotions
    assert again["duration_s"].tolist() == [0.5] * len(emotions)


def test_table_keeps_numbers_to_the_last_bit_and_missing_ones_missing(run):
    values = [0.1 + 0.2, 1 / 3, 1e-300, np.nan]
    run.save_table(pd.DataFrame({"file": list("abcd"), "angry": values}), "t.csv")
    again = run.read_table("t.csv", made_by="x")
    np.testing.assert_array_equal(again["angry"], values)


def test_json_is_plain_sorted_and_without_nan(run):
    content = {
        "b": np.float32(0.5),
        "a": {1: np.int64(3), "nan": float("nan"), "inf": np.inf},
        "c": [np.array([[1, 2]]), (Path("/x"), None, True), np.float64("nan")],
        "é": "ü",
    }
    path = run.save_json(content, "x.json")
    text = path.read_text(encoding="utf-8")
    assert json.loads(text, parse_constant=pytest.fail) == {
        "a": {"1": 3, "nan": None, "inf": None},
        "b": 0.5,
        "c": [[[1, 2]], ["/x", None, True], None],
        "é": "ü",
    }
    assert text.index('"a"') < text.index('"b"') < text.index('"c"')
    assert dump_json(content) == dump_json(dict(reversed(content.items()))) == text


def test_fingerprint_is_of_contents_and_labels():
    clips = pd.DataFrame({"sha256": ["a", "b"], "emotion": ["sad", "happy"], "path": ["1", "2"]})
    same = fingerprint(clips)
    assert fingerprint(clips.iloc[::-1].assign(path="elsewhere")) == same
    assert fingerprint(clips.assign(emotion=["happy", "sad"])) != same
    # A folder's name, and so a label, may be no UTF-8.
    assert fingerprint(clips.assign(emotion=["happy", "m\udcfcde"])) != same
    assert fingerprint(clips.assign(sha256=["a", "c"])) != same
    assert fingerprint(clips[:1]) != same
    assert fingerprint(pd.concat([clips, clips[:1]])) != same


def test_notebooks_listed_are_those_there():
    found = sorted(path.stem for path in (PROJECT_ROOT / "notebooks").glob("*.ipynb"))
    assert found == list(runs.NOTEBOOKS)


def test_a_folder_is_replaced_as_a_whole_or_stays(tmp_path):
    folder = tmp_path / "home/a"
    with atomic_folder(folder) as made:
        (made / "old.txt").write_text("old")
    with pytest.raises(KeyError), atomic_folder(folder) as made:
        (made / "half.txt").write_text("half")
        raise KeyError
    assert os.listdir(folder) == ["old.txt"]
    with atomic_folder(folder) as made:
        (made / "new.txt").write_text("new")
        assert os.listdir(folder) == ["old.txt"]
    assert os.listdir(folder) == ["new.txt"]
    assert os.listdir(folder.parent) == ["a"]


def test_a_killed_process_leaves_nothing_in_the_way(tmp_path):
    (tmp_path / ".a-new").mkdir()
    (tmp_path / ".a-new/half.txt").touch()
    (tmp_path / ".a.lock").touch()
    with one_at_a_time(tmp_path / "a"), atomic_folder(tmp_path / "a") as made:
        (made / "whole.txt").touch()
    assert os.listdir(tmp_path) == ["a"]
    assert os.listdir(tmp_path / "a") == ["whole.txt"]


def test_one_at_a_time_is_one_at_a_time(tmp_path):
    """Although each takes the file of the lock away, and makes its own folder of one name."""

    def work(_):
        with one_at_a_time(tmp_path / "home/a"):
            (tmp_path / "busy").mkdir()  # fails where it is there
            (tmp_path / "busy").rmdir()

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(100)))
    assert os.listdir(tmp_path / "home") == []


# --- names and letters that not everybody knows ---

ODD = "gl\udccccklich, Запись, $5 {and} <b>"  # the first is Latin-1 on a disk of UTF-8


def test_odd_names_survive_a_run(tmp_path):
    run = Run(tmp_path)
    table = pd.DataFrame({"path": [ODD], "emotion": ["$happy$"]})
    run.save_table(table, "utterances.csv")
    read = run.read_table("utterances.csv", made_by="01_explore")
    assert read.to_numpy().tolist() == [[ODD, "$happy$"]]
    run.save_json({"path": ODD}, "x.json")
    assert "Запись" in run.read_json("x.json", made_by="01_explore")["path"]
