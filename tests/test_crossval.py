"""Everybody is tested once by a model that never heard them, and what is done stays done."""

from __future__ import annotations

import ast
import importlib.util
import json
import os
import re
import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path

import nbformat
import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import balanced_accuracy_score
from tiny import write_tone

from helpers.cli import main
from helpers.corpora import load_corpora
from helpers.errors import UserError
from helpers.evaluation.groups import format_summary
from helpers.experiments.crossval import cross_validate, describe, parts_folder
from helpers.features.extract import extract_features
from helpers.models.modelfile import SHIPPED, read_card
from helpers.models.recipes import RECIPES
from helpers.models.training import TrainingSettings
from helpers.parallel import KEEP_MEMORY
from helpers.pipeline import NOTEBOOK_FOLDER, read_parameters
from helpers.runs import Run, hash_code
from helpers.sound.augment import augment_frames
from helpers.sound.inspection import inspect_clips
from helpers.splits import make_split

FACTS = ["path", "sha256", "corpus", "speaker", "gender", "intensity", "text", "emotion"]
CLASSES = ["neutral", "happy", "sad"]
SPEAKERS = ["anna", "ben", "carl", "dora"]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory) -> Path:
    """A manifest of tones: four people say two texts in three moods, which differ in pitch."""
    folder = tmp_path_factory.mktemp("data")
    rows = []
    for who, speaker in enumerate(SPEAKERS):
        for mood, emotion in enumerate(CLASSES):
            for text in ("one", "two"):
                hz = 150 + 300 * mood + 17 * who + 5 * len(rows)
                path = write_tone(folder / f"{speaker}-{emotion}-{text}.wav", hz, duration_s=0.4)
                rows.append(f"{path.name},{emotion},{speaker},{text}")
    (folder / "mine.csv").write_text("path,emotion,speaker,text\n" + "\n".join(rows) + "\n")
    return folder / "mine.csv"


@pytest.fixture(scope="module", autouse=True)
def home(tmp_path_factory):
    """One outputs folder for this file, so that features are computed once."""
    with pytest.MonkeyPatch.context() as patch:
        home = tmp_path_factory.mktemp("out")
        patch.setenv("SER_OUTPUTS", str(home))
        for name in KEEP_MEMORY:  # the command sets them; put back at the end
            patch.setenv(name, KEEP_MEMORY[name])
        yield home


@pytest.fixture(scope="module")
def clips(corpus) -> pd.DataFrame:
    return inspect_clips(load_corpora([str(corpus)]))[0]


def parts_of(run: Run) -> dict[str, tuple]:
    """Finished parts, each with what changes when it is written again."""
    found = run.folder.glob("parts/*/fold-*.csv")
    return {path.name: (path.stat().st_ino, path.stat().st_mtime_ns) for path in sorted(found)}


def train_side(clips: pd.DataFrame, **split) -> pd.DataFrame:
    return clips[make_split(clips, **split).isin(["train", "validation"])]


# ---------------------------------------------------------------------------- recipes


def code_of(step: str) -> str:
    cells = nbformat.read(NOTEBOOK_FOLDER / f"{step}.ipynb", 4).cells
    return "\n".join(cell.source for cell in cells if cell.cell_type == "code")


def settings_in(step: str, name: str) -> TrainingSettings:
    """What ``name = …`` in a notebook comes to with the defaults of its parameters."""
    known = {**read_parameters(step), "TrainingSettings": TrainingSettings, "replace": replace}
    for node in ast.walk(ast.parse(code_of(step))):
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) in {"settings", name}:
            exec(ast.unparse(node), known)
    return known[name]


@pytest.mark.parametrize(
    ("step", "name", "models"),
    [
        ("04_train_lstm", "settings", {"mfcc_lstm", "lstm"}),
        ("05_train_cnn", "quick", {"functionals_mlp", "vector_cnn", "cnn_lstm"}),
        ("05_train_cnn", "settings", {"cnn"}),
    ],
)
def test_recipes_are_those_of_the_notebooks(step, name, models):
    for model in models:
        assert RECIPES[model].settings == settings_in(step, name), model
        assert RECIPES[model].build.__name__ == f"build_{model}"
        assert f"build_{model}(" in code_of(step)
        assert f'family="{RECIPES[model].family}"' in code_of(step)
        augmented = RECIPES[model].family == "logmel"
        assert RECIPES[model].augment is (augment_frames if augmented else None)


CODE = '''
LIMIT = 3

def inner(x):
    return x + 1

def outer(x):
    """Says what it is."""
    # and why
    return inner(x) * LIMIT
'''


@pytest.mark.parametrize(
    ("old", "new", "same"),
    [
        ("Says what it is", "Says something else", True),
        ("# and why", "", True),
        ("x + 1", "x + 2", False),
        ("* LIMIT", "/ LIMIT", False),
        ("LIMIT = 3", "LIMIT = 4", False),
    ],
)
def test_code_counts_and_comments_do_not(tmp_path, old, new, same):
    hashes = []
    for place, text in enumerate((CODE, CODE.replace(old, new))):
        path = tmp_path / f"made_{place}.py"
        path.write_text(text)
        spec = importlib.util.spec_from_file_location("helpers.made", path)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        hashes.append(hash_code(module))
    assert (hashes[0] == hashes[1]) == same


# ---------------------------------------------------------------------------- parts


def key(clips, model="svm", epochs=None, protocol="speaker-independent") -> str:
    recipe = RECIPES[model].with_epochs(epochs) if epochs else RECIPES[model]
    return parts_folder(describe(clips, model, recipe, protocol=protocol))


def test_everybody_is_tested_once_a_fault_stops_no_other_and_what_is_done_stays(
    clips, tmp_path, capfd
):
    run = Run(tmp_path / "svm")
    in_the_way = run.path(key(clips)) / "fold-02-seed-0.csv" / "folder"
    in_the_way.mkdir(parents=True)
    missing = r"1 of 4 parts are missing: fold 2, seed 0 \(IsADirectoryError: .*same call again"
    with pytest.raises(UserError, match=missing):
        cross_validate(clips, "svm", run=run, jobs=2)
    assert "in _compute_part" in capfd.readouterr().err  # where it happened, for whoever mends it
    assert not run.path("cv.json").exists()
    before = parts_of(run)

    in_the_way.rmdir()
    in_the_way.parent.rmdir()
    (in_the_way.parent.parent / ".fold-02-seed-0-x1.csv").write_text("path,sha256\n")  # half of one
    table = cross_validate(clips, "svm", run=run, jobs=2)
    after = parts_of(run)
    assert [name for name in after if after[name] != before[name]] == ["fold-02-seed-0.csv"]

    assert list(table) == [*FACTS, "predicted", "confidence", "fold", "seed"]
    assert sorted(table["path"]) == sorted(clips["path"]) and table["confidence"].isna().all()
    tested = table.groupby("fold")["speaker"].unique().map(list).to_dict()
    assert sorted(map(tuple, tested.values())) == [(f"mine-{name}",) for name in SPEAKERS]
    for fold, speakers in tested.items():
        assert not set(speakers) & set(train_side(clips, fold=fold)["speaker"])
    pd.testing.assert_frame_equal(run.read_table("predictions.csv", made_by=""), table)
    summary = json.loads(run.path("cv.json").read_text())
    assert summary["by_seed"]["0"]["n_speakers"] == 4 and summary["folds"] == [1, 2, 3, 4]
    assert summary["uar"]["mean"] == pytest.approx(
        balanced_accuracy_score(table["emotion"], table["predicted"])
    )


def test_a_part_is_what_the_model_says_of_the_test_side(clips, tmp_path):
    table = cross_validate(clips, "svm", folds=[2], run=Run(tmp_path))
    split = make_split(clips, fold=2)
    assert table["path"].tolist() == clips.loc[split == "test", "path"].tolist()
    x = extract_features(clips, family="functionals")
    said = RECIPES["svm"].fit_predict(x, clips, split, classes=CLASSES, seed=0)
    assert table["predicted"].tolist() == said["predicted"].tolist()
    assert "1 of 4 folds only" in format_summary(json.loads((tmp_path / "cv.json").read_text()))


def test_the_body_that_comes_along_learns_the_emotions_of_others(clips, tmp_path):
    table = cross_validate(clips, "pretrained", run=Run(tmp_path / "tones"), jobs=2)
    assert table["path"].nunique() == len(clips)
    np.testing.assert_allclose(table[CLASSES].sum(axis=1), 1, rtol=1e-5)
    assert balanced_accuracy_score(table["emotion"], table["predicted"]) > 0.6  # chance: 0.33
    assert read_card(SHIPPED)["features"] == asdict(RECIPES["pretrained"].features)
    learned = read_card(SHIPPED)["speakers"]["train"][0]
    heard = clips.assign(speaker=clips["speaker"].replace("mine-anna", learned))
    with pytest.raises(UserError, match=f"has learned from {learned}, so a score on them"):
        cross_validate(heard, "pretrained", run=Run(tmp_path / "heard"))


def test_networks_say_the_same_however_many_run_at_once(clips, tmp_path):
    tables, parts = {}, {}
    for jobs, folds in ((1, [1]), (2, [1, 2])):
        run = Run(tmp_path / str(jobs))
        tables[jobs] = cross_validate(
            clips, "functionals_mlp", epochs=2, folds=folds, run=run, jobs=jobs
        )
        parts[jobs] = {path.name: path.read_bytes() for path in run.folder.rglob("fold-*.csv")}
    assert parts[1].keys() < parts[2].keys() and parts[1].items() < parts[2].items()
    table = tables[2]
    assert list(table) == [*FACTS, "predicted", "confidence", *CLASSES, "fold", "seed"]
    np.testing.assert_allclose(table[CLASSES].sum(axis=1), 1, atol=1e-5)
    assert (table["confidence"] == table[CLASSES].max(axis=1)).all()
    assert (table["predicted"] == table[CLASSES].idxmax(axis=1)).all()
    summary = json.loads(run.path("cv.json").read_text())
    assert (summary["settings"]["epochs"], summary["n_folds"]) == (2, 4)


def test_what_changes_a_result_is_a_new_key(clips):
    relabelled = clips.assign(emotion=["sad", *clips["emotion"][1:]])
    renamed = clips.assign(speaker=clips["speaker"].replace("mine-ben", "mine-bob"))
    keys = [
        key(clips),
        key(clips, "functionals_mlp"),
        key(clips, "functionals_mlp", epochs=3),
        key(clips, "functionals_mlp", epochs=4),
        key(clips, protocol="random-80-20"),
        key(relabelled),
        key(renamed),
        key(clips[1:]),
    ]
    assert len(set(keys)) == len(keys)
    assert keys[0] == key(clips.assign(path=clips["path"].to_numpy(), band_hz=0.0))


# ---------------------------------------------------------------------------- processes


def workers_of(pid: int) -> list[int]:
    """Processes that compute parts for ``pid``, the oldest first."""
    found = []
    for path in Path(f"/proc/{pid}/task").glob("*/children"):  # those of each thread
        with suppress(OSError):  # it has just ended
            for child in path.read_text().split():
                if b"spawn_main" in Path(f"/proc/{child}/cmdline").read_bytes():
                    found.append(int(child))
    return sorted(found)


def start(corpus: Path, home: Path) -> subprocess.Popen:
    """``ser cv`` of four parts, one at a time."""
    command = [sys.executable, "-m", "helpers.cli", "cv", "--corpora", str(corpus)]
    return subprocess.Popen(
        [*command, "--model", "svm", "--run", "killed", "--jobs", "1"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "SER_OUTPUTS": str(home)},
        # A shell that starts us in the background has told us to ignore Ctrl-C.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )


def wait_until(condition, process: subprocess.Popen) -> None:
    limit = time.monotonic() + 240
    while not condition():
        assert process.poll() is None and time.monotonic() < limit, process.stderr.read()
        time.sleep(0.02)


KILLED = r"ser: \d of 4 parts are missing: a process was killed.* again computes what is missing\n"


@pytest.mark.skipif(sys.platform != "linux", reason="looks for processes in /proc")
@pytest.mark.parametrize(
    ("number", "to_worker", "code", "message"),
    [
        (signal.SIGKILL, True, 2, KILLED),
        (signal.SIGKILL, False, -9, ""),
        (signal.SIGINT, False, 130, r"ser: stopped\n"),
    ],
)
def test_what_was_killed_or_stopped_is_carried_on(
    clips, corpus, home, number, to_worker, code, message
):
    run, process = Run(home / "killed"), start(corpus, home)
    before = parts_of(run)
    wait_until(lambda: workers_of(process.pid), process)
    first = workers_of(process.pid)
    wait_until(lambda: parts_of(run).keys() > before.keys(), process)
    wait_until(lambda: set(workers_of(process.pid)) - set(first), process)
    workers = workers_of(process.pid)
    os.kill(workers[-1] if to_worker else process.pid, number)
    _, said = process.communicate(timeout=60)
    # Python itself may add what it cleared up.
    assert process.returncode == code and re.match(message, said), said
    wait_for_end(workers)
    kept = parts_of(run)
    assert before.items() < kept.items() and len(kept) < 4  # none was written again
    assert not run.path("cv.json").exists()
    if len(kept) == 3:
        table = cross_validate(clips, "svm", run=run)
        assert kept.items() < parts_of(run).items()
        assert table["speaker"].nunique() == 4 and len(table) == len(clips)


def wait_for_end(pids: list[int]) -> None:
    limit = time.monotonic() + 60
    while any(Path(f"/proc/{pid}").exists() for pid in pids):
        assert time.monotonic() < limit, "a worker outlives the command"
        time.sleep(0.02)


# ---------------------------------------------------------------------------- the command


def test_from_the_terminal(corpus, home, capsys, tmp_path):
    bad = corpus.parent / "bad.wav"
    bad.write_text("no sound")
    manifest = tmp_path / "mine.csv"
    lines = corpus.read_text().replace("\n", f"\n{corpus.parent}{os.sep}").rsplit("\n", 1)[0]
    manifest.write_text(f"{lines}\n{bad},sad,anna,one\n")
    command = ["cv", "--corpora", str(manifest), "--model", "svm", "--protocol", "random-80-20"]
    assert main([*command, "--seeds", "2"]) == 0
    said, err = capsys.readouterr()
    assert (
        re.search("left out: .*bad.wav: found", err) and ": 0 of 2 parts were done before" in said
    )
    assert re.search(r"(?m)^fold 1, seed 1: UAR \d\.\d{3} on mine-.* · \d+ s$", said)
    line = r"svm · random-80-20 · 6 clips of \d speakers: UAR \d\.\d{3} ± \d\.\d{3} \(2 seeds\) \["
    assert re.search(line, said)
    folder = home / "cv-mine-svm-random-80-20"
    assert said.endswith(f"cv.json and predictions.csv are in {folder}\n")
    table = pd.read_csv(folder / "predictions.csv")
    tested = [set(part["path"]) for _, part in table.groupby("seed")]
    assert len(tested) == 2 and tested[0] != tested[1]
    before = parts_of(Run(folder))
    assert main([*command, "--folds", "1"]) == 0 and parts_of(Run(folder)) == before
    assert ": 1 of 1 parts were done before" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("--model gmm", "model 'gmm': expected one of mfcc_lstm, lstm, functionals_mlp"),
        ("--protocol x", "invalid choice: 'x' (choose from"),
        ("--seeds 0", "argument --seeds: 0: expected at least 1"),
        ("--jobs 0", "argument --jobs: 0: expected at least 1"),
        ("--epochs 5", "epochs 5: this model has none"),
        ("--folds 1,x", "argument --folds: invalid _numbers value: '1,x'"),
        ("--folds 0", "folds [0]: expected some of 1 to 4 under"),
        ("--folds 2 --protocol random-80-20", "expected some of 1 to 1 under"),
        ("--run ../x", "run name '../x'"),
        ("--corpora nix", "unknown corpus 'nix': known are demo"),
    ],
)
def test_wrong_names_and_numbers_are_refused(corpus, home, capsys, arguments, said):
    before = sorted(home.iterdir())
    try:
        code = main(["cv", "--corpora", str(corpus), "--model", "svm", *arguments.split()])
    except SystemExit as end:
        code = end.code
    out, err = capsys.readouterr()
    assert (code, out) == (2, "") and said in err and "Traceback" not in err
    assert sorted(home.iterdir()) == before
