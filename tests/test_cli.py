"""``ser``: what is typed is understood or explained; only an error of ours has a traceback."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from importlib.metadata import entry_points
from pathlib import Path

import av
import nbformat
import numpy as np
import pandas as pd
import papermill
import pytest
from filelock import FileLock, Timeout
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook
from tiny import CLASSES, SETTINGS, build_tiny_model, write_tone, write_voice

from helpers import __version__, doctor, pipeline
from helpers.cli import main
from helpers.corpora import CORPORA
from helpers.errors import UserError
from helpers.models.modelfile import make_card, save_model, update_card
from helpers.parallel import KEEP_MEMORY
from helpers.runs import Run, package_versions
from helpers.sound.check import FAULTS, NOTES

STEPS = ("01_first", "02_second")
FIRST = """
import os
from helpers.runs import data_home, open_run
run = open_run(RUN)
run.save_json({"corpora": CORPORA.split(","), "synthetic": True}, "data.json")
run.save_json({"env": dict(os.environ), "home": data_home(), "folder": os.getcwd()}, "env.json")
os.makedirs(run.path("figures"), exist_ok=True)
run.path("figures/01_a_<b>.png").write_bytes(b"x")
"""
SECOND = """
if FAIL == "raise":
    raise RuntimeError("no luck with " + RUN)
if FAIL == "die":
    import os
    os._exit(3)
"""


def notebook(parameters: str, *cells: str):
    first = new_code_cell(parameters, metadata={"tags": ["parameters"]})
    kernel = {"name": "python3", "display_name": "Python", "language": "python"}
    return new_notebook(
        cells=[new_markdown_cell("# x"), first, *map(new_code_cell, cells)],
        metadata={"kernelspec": kernel},
    )


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A terminal in an empty folder, data and outputs beside each other in it."""
    monkeypatch.chdir(tmp_path)
    # Relative, as one types it; the notebooks' own working folder is another.
    monkeypatch.setenv("SER_DATA", "data")
    monkeypatch.setenv("SER_OUTPUTS", "out")
    # What a run sets is put back at the end.
    for name in ("PYTHONHASHSEED", "JUPYTER_PREFER_ENV_PATH", *KEEP_MEMORY):
        monkeypatch.setenv(name, "1")
    monkeypatch.setenv("MPLBACKEND", "Agg")
    for emotion in ("sad", "angry"):
        write_tone(tmp_path / "data" / "mine" / emotion / "anna" / "x.wav")
    monkeypatch.setattr("helpers.splits._FEWEST_CLIPS", 2)
    return tmp_path


@pytest.fixture
def notebooks(home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two quick notebooks instead of the seven."""
    folder = home / "notebooks"
    folder.mkdir()
    first = notebook('CORPORA = "demo"  # which\nRUN = "demo"\nSEED = 0', FIRST)
    settings = 'RUN = "demo"\nEPOCHS = 75  # passes\nRATE = 0.001\nFLAG = True\nFAIL = ""'
    nbformat.write(first, folder / "01_first.ipynb")
    nbformat.write(notebook(settings, "x = 1", SECOND, "y = 2"), folder / "02_second.ipynb")
    monkeypatch.setattr(pipeline, "NOTEBOOK_FOLDER", folder)
    monkeypatch.setattr(pipeline, "NOTEBOOKS", STEPS)
    return folder


def ser(*arguments: object) -> int:
    """Exit code of ``ser …``, also where argparse itself ends the program."""
    try:
        return main([str(argument) for argument in arguments])
    except SystemExit as end:
        return end.code


def refused(capsys: pytest.CaptureFixture, *arguments: object) -> str:
    """What ``ser …`` says to something it must refuse with exit code 2."""
    capsys.readouterr()
    assert ser(*arguments) == 2
    out, err = capsys.readouterr()
    assert out == "" and "Traceback" not in err and err.startswith(("ser: ", "usage: "))
    return err


def raising(error: BaseException):
    def raise_it(*arguments, **named):
        raise error

    return raise_it


# ---------------------------------------------------------------------------- the command


def test_ser_is_the_command_of_the_package():
    (found,) = entry_points(group="console_scripts", name="ser")
    assert found.value == "helpers.cli:main" and found.load() is main


def test_from_a_terminal(home):
    command = [sys.executable, "-m", "helpers.cli", "run", "--corpora", "nix"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("ser: unknown corpus 'nix': known are demo, cremad")
    assert not (home / "out").exists()


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("", ["run", "predict", "cv", "compare", "features", "corpora"]),
        ("corpora", ["list", "validate", "get"]),
        ("corpora validate", ["--csv", "Exit code 1", "-40 dBFS", *FAULTS, *NOTES]),
        ("compare", ["95 % interval", "Exit code 1"]),
    ],
)
def test_help_lists_commands_and_options(capsys, command, words):
    assert ser(*command.split(), "--help") == 0
    said = " ".join(capsys.readouterr().out.split())
    assert [word for word in words if word not in said] == []


@pytest.mark.parametrize(
    "command",
    ["", "fly", "predict", "run --epochs 3", "run -p", "run --from 1 --only 2", "corpora --fast"]
    + ["corpora validate", "corpora get", "corpora get tess --fast"],
)
def test_what_the_parser_does_not_know(capsys, command):
    assert "usage: ser" in refused(capsys, *command.split())


@pytest.mark.parametrize(
    "error",
    [UserError("no such thing"), OSError(28, "No space left on device", "out.csv")],
)
def test_what_a_person_can_put_right_is_said_in_a_line(capsys, monkeypatch, error):
    monkeypatch.setattr("helpers.corpora.overview.survey_corpora", raising(error))
    said = refused(capsys, "corpora")
    assert said == f"ser: {error}\n"


@pytest.mark.parametrize(
    "error", [ValueError("of a library"), KeyError("x"), OSError("of a library")]
)
def test_an_error_of_ours_keeps_its_traceback(monkeypatch, error):
    monkeypatch.setattr("helpers.corpora.overview.survey_corpora", raising(error))
    with pytest.raises(type(error)) as caught:  # Python prints it, with exit code 1
        main(["corpora"])
    assert caught.value is error


def test_a_reader_that_has_seen_enough_is_no_error(tmp_path):
    code = """
import sys
from argparse import Namespace as Names
from helpers import cli
def call(arguments):
    for i in range(100_000):
        print("a row of a long table")
    return 0
cli.build_parser = lambda: Names(parse_args=lambda argv: Names(call=call))
sys.exit(cli.main())
"""
    with subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 0


# ---------------------------------------------------------------------------- run: refusals


def test_unknown_corpora_are_refused_with_the_known(capsys, notebooks):
    for arguments in (["--corpora", "mine,tes"], ["-p", "CORPORA=mine,tes"]):
        said = refused(capsys, "run", *arguments)
        assert f"unknown corpus 'tes': known are {', '.join(CORPORA)}" in said
    assert "not found: looked in" in refused(capsys, "run", "--corpora", "tess")
    assert not Path("out").exists()


def test_unknown_notebooks_are_refused_with_the_known(capsys, notebooks):
    for option, step in (("--from", "9"), ("--only", "03"), ("--only", "first")):
        said = refused(capsys, "run", option, step)
        assert f"notebook {step!r}: expected one of 01_first, 02_second" in said


def test_unknown_parameters_are_refused_with_the_known(capsys, notebooks):
    said = refused(capsys, "run", "--corpora", "mine", "-p", "EPOCH=3")
    assert "parameter EPOCH: no notebook of this run has one; known are CORPORA, EPOCHS" in said
    # Known, but not to the notebook that is asked for.
    said = refused(capsys, "run", "--corpora", "mine", "--only", "1", "-p", "EPOCHS=3")
    assert "known are CORPORA, RUN, SEED" in said
    for text in ("EPOCHS", "=3", "a b=1"):
        assert "expected NAME=VALUE" in refused(capsys, "run", "-p", text)
    assert not Path("out").exists()


@pytest.mark.parametrize(
    ("kind", "texts"),
    [
        ("int", "EPOCHS=many EPOCHS=1.5 EPOCHS= EPOCHS=True EPOCHS=075 EPOCHS=[1] EPOCHS={[]:1}"),
        ("float", "RATE=fast RATE=True RATE=None RATE=__import__('os')"),
        ("bool", "FLAG=1 FLAG=yes"),
    ],
)
def test_parameters_of_another_type_are_refused(capsys, notebooks, kind, texts):
    for text in texts.split():
        said = refused(capsys, "run", "--corpora", "mine", "-p", text)
        name = text.partition("=")[0]
        assert re.search(f"parameter {name}=.*: expected {kind}, such as the default ", said)


def test_a_later_start_keeps_to_the_corpora_of_its_run(capsys, notebooks):
    again = ("run", "--run", "x", "--from", "2", "--corpora")
    assert "data.json is not there" in refused(capsys, *again, "mine")
    Run(Path("out/x")).save_json({"corpora": ["ravdess"]}, "data.json")
    said = refused(capsys, *again, "mine")
    assert re.search(r"run 'x' was made with ravdess, not .*mine\. Start at 01", said)
    Path("out/x/data.json").write_text('{"corpora": [')
    assert "data.json is damaged" in refused(capsys, *again, "mine")


def test_values_are_read_by_the_default_of_the_notebook(notebooks):
    known = {step: pipeline.read_parameters(step) for step in STEPS}
    given = {"EPOCHS": "3", "RATE": "1", "FLAG": "False", "FAIL": "1e-3", "RUN": "2024"}
    fitting = pipeline._read_values(given, known)
    assert fitting == {"EPOCHS": 3, "RATE": 1, "FLAG": False, "FAIL": "1e-3", "RUN": "2024"}


def test_runs_are_called_after_their_corpora():
    assert pipeline._default_name(["ravdess", "tess"]) == "ravdess-tess"
    assert pipeline._default_name(["/a/my data", "/b/Stimmen"]) == "my-data-Stimmen"
    assert pipeline._default_name(["/a/" + "x" * 200]) == "x" * 80
    assert pipeline._default_name(["/a/…"]) == "own"


def test_other_recordings_of_one_name_get_a_run_of_their_own(home):
    for folder in ("one/x", "two/x", "three/x"):
        (home / folder).mkdir(parents=True)
    names = []
    for folder in ("one/x", "two/x", "one/x", "three/x"):
        corpora = str(home / folder)
        names.append(pipeline._default_name([corpora]))
        Run(home / "out" / names[-1]).save_json({"corpora": corpora}, "run.json")
    assert names == ["x", "x-2", "x", "x-3"]


# ---------------------------------------------------------------------------- run: going


def executed_parameters(run: Path, step: str) -> str:
    cells = nbformat.read(run / f"{step}.ipynb", as_version=4).cells
    (cell,) = (cell for cell in cells if "injected-parameters" in cell.metadata.get("tags", ()))
    return cell.source


def test_a_run_from_end_to_end_then_a_failure_then_mended(capsys, notebooks, home):
    code = ser("run", "--corpora", "mine", "-p", "RUN=7", "-p", "EPOCHS=7", "-p", "RATE=1")
    (said, err), run = capsys.readouterr(), home / "out" / "7"
    assert (code, err) == (0, "")
    assert re.search(r"\[1/2\] 01_first … done in .*\n\[2/2\] 02_second … done in ", said)
    assert str(run / "index.html").removeprefix(f"{home}/") in said
    record = json.loads((run / "run.json").read_text())
    assert record["status"] == "done" and record["run"] == "7" and record["seed"] == 0
    assert [item["status"] for item in record["notebooks"].values()] == ["done", "done"]
    assert record["parameters"]["EPOCHS"] == 7 and record["data"]["synthetic"] is True
    assert {"started", "finished", "versions"} <= set(record)
    assert "EPOCHS = 7" in executed_parameters(run, "02_second")
    assert "EPOCHS" not in executed_parameters(run, "01_first")

    # The notebook's folder is not the terminal's; both mean the same places.
    env = json.loads((run / "env.json").read_text())
    assert env["folder"] == str(notebooks) and env["home"] == str(home / "data")
    assert env["env"]["PYTHONHASHSEED"] == "0"
    assert env["env"].get("MPLBACKEND") != "Agg"  # it would drop every figure without a word
    assert sorted(os.listdir(notebooks)) == sorted(f"{step}.ipynb" for step in STEPS)

    page = (run / "index.html").read_text(encoding="utf-8")
    for part in ("01_first.html", "02_second.ipynb", "Synthetic demo voices", "Run 7"):
        assert part in page
    assert "<b>" not in page.split("<h2>Figures")[1]
    assert "no luck" in (run / "02_second.html").read_text(encoding="utf-8")

    code = ser("run", "--run", "7", "--only", "2", "-p", "FAIL=raise")
    said = capsys.readouterr().out
    assert code == 1
    assert "[1/1] 02_second … failed in" in said
    assert "02_second, cell 4: RuntimeError: no luck with 7" in said
    copy = re.search("The executed copy, up to that cell: (.*)", said)[1]
    cells = nbformat.read(copy, as_version=4).cells
    assert [cell.get("execution_count") for cell in cells][-1] is None  # the last one did not run
    record = json.loads((run / "run.json").read_text())
    assert record["status"] == "failed"
    assert "no luck with 7" in record["notebooks"]["02_second"]["error"]
    assert record["notebooks"]["01_first"]["status"] == "done"
    assert record["parameters"]["EPOCHS"] == 7 and record["corpora"] == str(home / "data" / "mine")
    assert "failed" in (run / "index.html").read_text(encoding="utf-8")

    assert ser("run", "--run", "7", "--from", "02", "--corpora", "mine") == 0
    record = json.loads((run / "run.json").read_text())
    assert record["status"] == "done" and "error" not in record["notebooks"]["02_second"]


def test_a_kernel_that_dies_stops_the_run(capsys, notebooks):
    assert ser("run", "--run", "x", "--only", "02", "-p", "FAIL=die") == 1
    assert "DeadKernelError" in capsys.readouterr().out
    assert json.loads(Path("out/x/run.json").read_text())["status"] == "failed"


@pytest.mark.parametrize(("n_failures", "code"), [(1, 0), (2, 1)])
def test_a_kernel_whose_port_was_taken_is_started_again_once(
    notebooks, monkeypatch, n_failures, code
):
    failures = [RuntimeError("Kernel died before replying to kernel_info")] * n_failures
    real = papermill.execute_notebook

    def execute(*arguments, **named):
        if failures:
            raise failures.pop()
        return real(*arguments, **named)

    monkeypatch.setattr(papermill, "execute_notebook", execute)
    assert ser("run", "--corpora", "mine", "--only", "01") == code


def test_a_failing_notebook_stops_those_behind_it(capsys, notebooks, monkeypatch):
    monkeypatch.setattr(pipeline, "_execute", lambda step, run, parameters: f"{step}: broken")
    assert ser("run", "--corpora", "mine") == 1
    said = capsys.readouterr().out
    assert "01_first … failed" in said and "02_second" not in said
    assert list(json.loads(Path("out/mine/run.json").read_text())["notebooks"]) == ["01_first"]


def test_a_run_is_one_call_at_a_time(notebooks, home, monkeypatch):
    def execute(step, run, parameters):
        with pytest.raises(Timeout):  # a second call would wait here
            FileLock(home / "out" / f".{run.name}.lock").acquire(blocking=False)

    monkeypatch.setattr(pipeline, "_execute", execute)
    assert ser("run", "--corpora", "mine", "--only", "01") == 0
    assert not (home / "out" / ".mine.lock").exists()


def test_control_c_is_recorded(capsys, notebooks, monkeypatch):
    monkeypatch.setattr(pipeline, "_execute", raising(KeyboardInterrupt()))
    assert ser("run", "--corpora", "mine") == 130
    assert capsys.readouterr().err == "ser: stopped\n"
    record = json.loads(Path("out/mine/run.json").read_text())
    assert record["status"] == "failed"
    assert record["notebooks"]["01_first"]["error"] == "stopped from the keyboard"


# ---------------------------------------------------------------------------- predict


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    card = make_card(name="tiny", classes=CLASSES, settings=SETTINGS)
    path = tmp_path_factory.mktemp("model") / "model.keras"
    return save_model(build_tiny_model(), path, card)


@pytest.fixture
def sounds(home: Path) -> Path:
    folder = home / "sounds"
    folder.mkdir()
    for hz in (150, 800, 3000):
        write_voice(folder / f"{hz}.wav", hz)
    (folder / "bad.wav").write_text("no sound")
    return folder


def test_predict_a_folder_with_csv_and_labels(capsys, sounds, model, home, monkeypatch):
    monkeypatch.setattr(sys, "stdin", None)  # as in a service of Windows, or after <&-
    labels = home / "labels.csv"
    rows = ("path,emotion", "sounds/150.wav,sad", "sounds/800.wav,angry", "sounds/bad.wav,sad")
    labels.write_text("\n".join(rows))
    out = home / "new" / "folder" / "out.csv"
    code = ser("predict", "sounds", "--model", model, "--csv", out, "--labels", labels)
    said, err = capsys.readouterr()
    assert code == 3  # one of the files is broken
    table = pd.read_csv(out)
    names = [Path(file).name for file in table["file"]]
    assert names == ["150.wav", "3000.wav", "800.wav", "bad.wav"]
    np.testing.assert_allclose(table[CLASSES][:3].sum(axis=1), 1)
    assert "bad.wav: found" in table["error"][3] and table["emotion"].isna()[3]
    for name in ("150.wav", "bad.wav", *CLASSES):
        assert name in said
    assert "NaN" not in said
    assert "Against" in said and "2 clips of 1 speakers" in said and "precision" in said
    right = (table["emotion"][[0, 2]] == ["sad", "angry"]).mean()
    assert f"accuracy {right:.3f}" in said
    assert "sounds/bad.wav: found" in err and "1 files are not listed" in err
    assert f"wrote 4 rows to {out}" in err
    assert "synthetic" not in err


def test_predict_says_which_model_answers(capsys, sounds, model, home):
    update_card(model, home / "out" / "demo" / "model.keras", synthetic=True)
    assert ser("predict", sounds / "150.wav", "--run", "demo") == 0
    said, err = capsys.readouterr()
    assert "150.wav" in said
    assert "tiny, learned from unknown recordings, synthetic voices" in err
    assert "its score on other clips is not known" in err
    assert ser("predict", sounds / "150.wav") == 0
    err = capsys.readouterr().err
    assert re.search(
        r"learned from .*ravdess.*; UAR 0\.\d\d \[.*\] on \d+ clips of \d+ speakers", err
    )


def test_predict_nothing_but_broken_files(capsys, sounds, model):
    assert ser("predict", sounds / "bad.wav", sounds / "none.wav", "--model", model) == 3
    err = capsys.readouterr().err
    assert "bad.wav: found" in err and "none.wav: found nothing there" in err


def test_what_is_no_model_or_no_recording_is_refused(capsys, sounds, model, home):
    (home / "text.keras").write_text("no model")
    shutil.copy(model, home / "renamed.zip")
    for name, message in (
        ("none.keras", "No such file"),
        (sounds, "expected a model.keras with its card.json"),
        ("text.keras", "File is not a zip file"),
        ("renamed.zip", "Keras cannot load it"),
    ):
        said = refused(capsys, "predict", sounds / "150.wav", "--model", name)
        assert f"ser: {name}: " in said and message in said
    said = refused(capsys, "predict", sounds / "150.wav", "--run", "none")
    assert "none: found no such run" in said
    (home / "nothing").mkdir()
    said = refused(capsys, "predict", "nothing", "--model", model)
    assert "nothing: a folder without audio files" in said


def test_a_table_that_cannot_be_written_is_said_first(capsys, sounds, model):
    Path("file").write_text("x")
    for out, message in (
        (sounds, f"--csv: {sounds}: expected a file that can be"),
        ("file/out.csv", "File exists: 'file'"),
        ("file/deep/out.csv", "Not a directory: 'file/deep'"),
    ):
        assert message in refused(capsys, "predict", sounds, "--model", model, "--csv", out)


def test_labels_that_cannot_be_read_are_said_first(capsys, sounds, model, home):
    (home / "other.csv").write_text("name,mood\nx,y\n")
    (home / "gone.csv").write_text("path,emotion\ngone.wav,sad\n")
    for name, message in (
        ("none.csv", "No such file"),
        (sounds / "150.wav", ""),
        ("other.csv", "no column path"),
        ("gone.csv", "none of its 1 files is there"),
    ):
        said = refused(capsys, "predict", sounds, "--model", model, "--labels", name)
        assert Path(name).name in said and message in said


def test_labels_of_other_files_or_emotions_score_nothing(capsys, sounds, model):
    labels = Path("labels.csv")
    labels.write_text("path,emotion\nsounds/150.wav,boredom\n")
    code = ser("predict", sounds / "150.wav", "--model", model, "--labels", labels)
    said, err = capsys.readouterr()
    assert code == 2 and "150.wav" in said  # the answer is there, its score is not
    assert "the model does not know: boredom" in err and "none of the files could be scored" in err


# ---------------------------------------------------------------------------- corpora


@pytest.fixture
def corpora(home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Own data of four different clips, and a TESS of which one clip is there."""
    for name in ("MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_"):
        monkeypatch.setenv(name, "1000000")
    for hz, place in enumerate(("sad/anna/x", "angry/anna/x", "sad/ben/x", "angry/ben/x"), start=3):
        write_tone(home / "data" / "mine" / f"{place}.wav", 100 * hz)
    write_tone(home / "data" / "tess" / "OAF_sad" / "OAF_back_sad.wav")
    return home / "data"


def test_corpora_lists_all_that_is_known(capsys, corpora):
    assert ser("corpora") == 0
    said, err = capsys.readouterr()
    header, *lines = said.splitlines()
    assert header.split() == ["corpus", "clips", "speakers", "state", "licence"]
    rows = {line.split()[0]: line for line in lines[: len(CORPORA)]}
    assert list(rows) == list(CORPORA) and err == ""
    assert rows["tess"].split()[1:5] == ["1/2800", "1/2", "2799", "missing"]
    assert "CC BY-NC-ND 4.0" in rows["tess"] and "made at first use" in rows["demo"]
    assert "not there" in rows["savee"] and CORPORA["savee"].citation not in said
    missing = "cremad, emodb, nemo, ravdess, ravdess-song, savee"
    assert lines[-1] == f"not there: {missing}. `ser corpora get NAME` fetches one or says how"
    assert not (corpora / "demo").exists()
    assert ser("corpora", "--cite") == 0
    said = capsys.readouterr().out
    assert [name for name, corpus in CORPORA.items() if corpus.citation not in said] == []


def test_corpora_can_be_named_and_own(capsys, corpora, home):
    assert ser("corpora", "savee", "mine", "--csv", "new/out.csv") == 0
    said, err = capsys.readouterr()
    _, savee, mine, *rest = said.splitlines()
    assert savee.split()[:3] == ["savee", "0/480", "0/4"]
    assert mine.split()[:3] == ["mine", "4", "2"] and "own data" in mine
    assert "mine: sad 2, angry 2" in said and "emotions of fewer than" in said
    assert f"savee: {CORPORA['savee'].citation}" in rest and CORPORA["tess"].citation not in said
    table = pd.read_csv(home / "new" / "out.csv")
    assert table["corpus"].tolist() == ["savee", "mine"] and table["clips"].tolist() == [0, 4]
    assert table["expected_clips"][0] == 480 and pd.isna(table["expected_clips"][1])
    assert "wrote 2 rows" in err


def test_corpora_that_are_unknown(capsys, corpora):
    for command in ("list", "validate"):
        assert "unknown corpus 'nix'" in refused(capsys, "corpora", command, "nix")
    assert "given twice" in refused(capsys, "corpora", "tess", "tess")


def test_validate_with_notes_only_is_0_and_with_a_fault_1(capsys, corpora, home):
    assert ser("corpora", "validate", "mine") == 0
    assert capsys.readouterr().out == f"4 clips of {corpora / 'mine'}: nothing to report\n"
    same = corpora / "mine" / "sad" / "anna" / "again.wav"
    shutil.copy(corpora / "mine" / "sad" / "anna" / "x.wav", same)
    assert ser("corpora", "validate", "mine") == 0
    said = capsys.readouterr().out
    assert said.endswith(f"5 clips of {corpora / 'mine'}: 1 duplicate\n") and str(same) in said
    same.write_text("no sound")
    assert ser("corpora", "validate", "mine", "--csv", "out.csv") == 1
    said, err = capsys.readouterr()
    header, row, summary = said.splitlines()
    assert header.split() == ["path", "corpus", "check", "detail"]
    assert re.match(rf"{re.escape(str(same))} +mine +unreadable +found text", row)
    assert summary == f"5 clips of {corpora / 'mine'}: 1 unreadable"
    table = pd.read_csv(home / "out.csv")
    assert list(table.columns) == ["path", "corpus", "check", "detail"]
    assert table["path"].tolist() == [str(same)] and "wrote 1 rows to out.csv" in err


def test_validate_several_corpora_one_of_them_not_there(capsys, corpora):
    assert ser("corpora", "validate", "mine", "tess", "savee") == 1
    said = capsys.readouterr().out
    assert "sad: 1 of 400 clips" in said
    assert "all 480 clips of 4 speakers" in said
    assert said.splitlines()[-1] == f"5 clips of {corpora / 'mine'}, tess, savee: 9 missing"


def test_a_long_list_is_cut_on_the_terminal_and_whole_in_the_csv(capsys, corpora):
    for place in range(60):
        write_tone(corpora / "ravdess" / f"stray{place}.wav", duration_s=0.1)
    # Both parts meet the same stray files.
    assert ser("corpora", "validate", "ravdess", "ravdess-song", "--csv", "out.csv") == 1
    said = capsys.readouterr().out
    assert said.count("stray") == 50 and "… and 10 more of unparsed; --csv OUT has all" in said
    assert said.splitlines()[-1].endswith(": 2 missing, 60 unparsed")
    assert (pd.read_csv("out.csv")["check"] == "unparsed").sum() == 60


def test_get_says_where_it_landed_and_what_is_there(capsys, corpora, monkeypatch):
    monkeypatch.setattr("helpers.corpora.download.download_corpus", lambda name: corpora / name)
    assert ser("corpora", "get", "tess") == 1  # most is missing still
    said = capsys.readouterr().out
    assert said == f"tess is in {corpora / 'tess'}: 1 clips, 2799 missing\n"
    monkeypatch.setitem(CORPORA, "tess", replace(CORPORA["tess"], counts={"sad": 1}, speakers=1))
    assert ser("corpora", "get", "tess") == 0
    assert "1 clips, complete" in capsys.readouterr().out


def test_what_cannot_be_fetched_is_explained(capsys, corpora):
    assert "unknown corpus 'nix'" in refused(capsys, "corpora", "get", "nix")
    assert CORPORA["savee"].url in refused(capsys, "corpora", "get", "savee")


# ---------------------------------------------------------------------------- features


def test_features_are_computed_kept_and_written(home, capsys, caplog):
    (home / "data/mine/sad/anna/bad.wav").write_text("no sound")
    command = ("features", "--corpora", "data/mine", "--family", "logmel, mfcc40", "--csv", "x.csv")
    assert ser(*command) == 0
    out, err = capsys.readouterr()
    assert re.search("left out: .*bad.wav: found", err)
    assert "(0 from the cache)" in caplog.text and "logmel: 2 × 151 × 64" in out
    rows = pd.read_csv("x.csv")
    assert list(rows)[:5] == ["path", "corpus", "speaker", "emotion", "mfcc_01_mean"]
    assert sorted(rows["emotion"]) == ["angry", "sad"] and rows.shape[1] == 44
    assert ser(*command) == 0
    assert "(2 from the cache)" in caplog.text


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--family", "chroma"), "'chroma': expected one of logmel, mfcc"),
        (("--csv", "x.csv"), "expected one family with one row per clip in --family, got 3"),
        (("--scheduler", "10.0.0.1"), "no Dask scheduler at '10.0.0.1'"),
        (("--corpora", "nowhere"), "nowhere"),
    ],
)
def test_features_that_cannot_be_computed_are_refused(home, capsys, monkeypatch, arguments, said):
    monkeypatch.setattr("helpers.parallel._CONNECT_S", 1)
    monkeypatch.setenv("SER_SCHEDULER", "")
    assert said in refused(capsys, "features", "--corpora", "data/mine", *arguments)


# --- other people's terminals, names and settings ---


def run_ser(*words: object, stdin=None, **environment: str) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "helpers.cli", *map(str, words)]
    return subprocess.run(command, stdin=stdin, capture_output=True, env=os.environ | environment)


@pytest.mark.parametrize(
    "settings",
    [
        {"PYTHONIOENCODING": "cp1252"},
        {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
    ],
    ids=str,
)
@pytest.mark.skipif(sys.platform == "win32", reason="names are always Unicode there")
def test_a_terminal_that_knows_few_letters(tmp_path, settings):
    root = tmp_path / "Запись"
    for emotion in ("Wüt", "快乐"):
        write_tone(root / emotion / "anna" / "1.wav")
    odd = os.fsdecode(os.fsencode(root / "快乐") + b"/gl\xfccklich.wav")
    shutil.copy(root / "快乐" / "anna" / "1.wav", odd)
    done = run_ser("corpora", root, "--csv", tmp_path / "out.csv", **settings)
    assert done.returncode == 0, done.stderr
    assert done.stdout.decode("latin-1").splitlines()[1].split()[1:3] == ["3", "2"]
    assert b"wrote 1 rows" in done.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="names are always Unicode there")
def test_a_name_that_is_not_utf8_is_one_of_the_files(capsys, sounds, model):
    shutil.copy(sounds / "150.wav", os.fsdecode(os.fsencode(sounds) + b"/gl\xfccklich.wav"))
    assert ser("predict", sounds, "--model", model, "--csv", "out.csv") == 3
    content = Path("out.csv").read_bytes()
    assert content.count(b"\n") == 6 and b"gl\xfccklich.wav" in content


def test_answers_over_time_as_table_words_and_picture(home, sounds, model, capsys):
    write_voice(sounds / "long.wav", 800, duration_s=5)
    more = ("--timeline", "out.csv", "--plot", "new/out.png")
    assert ser("predict", sounds, "--model", model, *more) == 3
    table = pd.read_csv("out.csv")
    windows = table.groupby(table["file"].map(os.path.basename)).size()
    assert windows["long.wav"] > 5 and "bad.wav" not in windows
    assert table.columns[:3].tolist() == ["file", "start_s", "end_s"]
    assert re.search(r"long.wav: \w+ \d+%.* of 5 s; \d+ changes", capsys.readouterr().err)
    assert Path("new/out.png").read_bytes().startswith(b"\x89PNG")
    assert ser("predict", sounds / "long.wav", "--model", model, "--plot", "out.HTML") == 0
    page = Path("out.HTML").read_text(encoding="utf-8")
    assert f'src="{(sounds / "long.wav").resolve().as_uri()}"' in page
    assert 'onclick="' in page and "data:image/jpeg;base64," in page
    assert "ends in .png" in refused(capsys, "predict", sounds, "--plot", "out.doc")


def test_predict_speaks_json_and_reads_standard_input(sounds, model):
    with open(sounds / "150.wav", "rb") as file:
        words = ("predict", "--json", "--model", model, "-", sounds / "bad.wav")
        done = run_ser(*words, stdin=file)
    assert done.returncode == 3, done.stderr
    good, broken = map(json.loads, done.stdout.splitlines())
    assert good["file"] == "<stdin>" and good["emotion"] in CLASSES
    assert "found" in broken["error"] and broken["emotion"] == ""


def test_csv_for_excel_has_a_signature(home, sounds, model, capsys):
    for option, starts in (([], b"file,"), (["--excel"], b"\xef\xbb\xbffile,")):
        ser("predict", sounds, "--model", model, "--csv", "out.csv", *option)
        assert Path("out.csv").read_bytes().startswith(starts)


@pytest.mark.parametrize(
    "settings",
    [
        {"backend": "theano"},
        {"backend": "torch", "floatx": "float16", "image_data_format": "channels_first"},
    ],
    ids=str,
)
def test_an_old_keras_json_changes_nothing(tmp_path, sounds, model, settings, capsys):
    (tmp_path / "keras.json").write_text(json.dumps(settings))
    words = ("predict", sounds / "150.wav", "--model", model)
    ser(*words)
    backend = settings.get("backend", "tensorflow")
    done = run_ser(*words, KERAS_HOME=str(tmp_path), KERAS_BACKEND=backend)
    assert done.stdout.decode() == capsys.readouterr().out


def test_version_is_one_everywhere(capsys):
    with pytest.raises(SystemExit):
        main(["--version"])
    assert capsys.readouterr().out == f"ser {__version__}\n"
    assert package_versions()["helpers"] == __version__


def test_doctor_says_what_works_and_a_remedy_for_the_rest(capsys, monkeypatch):
    monkeypatch.setattr(doctor, "find_spec", lambda name: None if name == "fastapi" else name)
    monkeypatch.setattr(av, "codecs_available", av.codecs_available - {"aac"})
    assert main(["doctor"]) == 0
    said = capsys.readouterr().out
    assert re.search(r"^ok  model .*pretrained.*neutral", said, re.M)
    assert "no aac: pip install" in said and 'no serve: pip install -e ".[serve]"' in said
    for line in re.findall(r"^--  .*\n(.*)$", said, re.M):
        assert line.startswith(" " * 22)  # each has its remedy below it
