"""The seven notebooks as a reader meets them: run, complete, stripped, short of breath nowhere."""

from __future__ import annotations

import ast
import json
import re
import shutil
from pathlib import Path

import nbformat
import pandas as pd
import pytest
from conftest import ROOT, SMALL

from helpers.cli import main
from helpers.models.modelfile import SHIPPED, read_card
from helpers.models.prediction import Predictor
from helpers.pipeline import read_parameters
from helpers.report.pages import describe_model, render
from helpers.runs import NOTEBOOKS

FOLDER = ROOT / "notebooks"
RESULTS = {
    "01_explore": ["utterances.csv", "rejected.csv", "data.json"],
    "02_features": ["feature_effects.csv"],
    "03_augment": ["augmentations.csv"],
    "04_train_lstm": ["validation_04.csv", "models/random-80-20/mfcc_lstm.keras"],
    "05_train_cnn": ["validation.csv", "model.keras"],
    "06_evaluate": ["metrics.json", "predictions.csv", "model_card.html"],
    "07_predict_live": ["prediction.csv"],
}
pytestmark = pytest.mark.notebooks


def read(folder: Path, step: str) -> nbformat.NotebookNode:
    return nbformat.read(folder / f"{step}.ipynb", as_version=4)


def code_cells(notebook: nbformat.NotebookNode) -> list[nbformat.NotebookNode]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def outputs_of(notebook: nbformat.NotebookNode) -> list[nbformat.NotebookNode]:
    return [output for cell in code_cells(notebook) for output in cell.outputs]


def text_of(notebook: nbformat.NotebookNode) -> str:
    """Everything a reader sees as text in the outputs."""
    parts = []
    for output in outputs_of(notebook):
        parts.append(output.get("text", ""))
        parts += [str(item) for key, item in output.get("data", {}).items() if "text" in key]
    return "\n".join(parts)


@pytest.fixture(scope="module")
def run(demo_run: Path) -> Path:
    return demo_run / "demo"


@pytest.mark.parametrize("step", NOTEBOOKS)
class TestCommitted:
    """The files in the repository."""

    def test_cells_are_short(self, step):
        cells = code_cells(read(FOLDER, step))
        assert max(len(cell.source.splitlines()) for cell in cells) <= 25
        # What is not to be read is folded: imports, set-up, the look of figures, bookkeeping.
        shown = [cell for cell in cells if not cell.metadata.get("jupyter")]
        lengths = [len(cell.source.splitlines()) for cell in shown]
        assert sorted(lengths)[len(lengths) // 2] <= 5

    def test_ends_with_an_answer_and_exercises(self, step):
        prose = "\n".join(c.source for c in read(FOLDER, step).cells if c.cell_type == "markdown")
        assert "## The answer\n" in prose + "\n"
        exercises = prose.partition("## Exercises")[2]
        assert 3 <= len(re.findall(r"^\*\*\d\.\*\*", exercises, re.M)) <= 5
        assert len(re.findall(r"<details><summary>Answer", exercises)) == len(
            re.findall(r"^\*\*\d\.\*\*", exercises, re.M)
        )

    def test_begins_and_ends_as_all_do(self, step):
        cells = read(FOLDER, step).cells
        number = step[:2]
        assert re.match(rf"# {number} · \w+", cells[0].source)
        for word in ("**", "*Reads*", "*Writes*"):
            assert word in cells[0].source
        assert cells[1].cell_type == "code" and cells[1].source.startswith(("import", "from"))
        following = [*NOTEBOOKS[1:], "last notebook"][NOTEBOOKS.index(step)]
        assert following in cells[-1].source

    def test_parameters_are_literals_with_a_meaning(self, step):
        cells = read(FOLDER, step).cells
        (cell,) = [one for one in cells if "parameters" in one.metadata.get("tags", [])]
        assert read_parameters(step)["RUN"] == "demo"
        for line in cell.source.splitlines():
            assert re.fullmatch(r"[A-Z][A-Z0-9_]* = [^#]+  # .{4,}", line), line
            ast.literal_eval(line.split("=", 1)[1].split("#")[0].strip())

    def test_numbers_in_prose_come_from_cells(self, step):
        prose = "\n".join(c.source for c in read(FOLDER, step).cells if c.cell_type == "markdown")
        # The public recipes' claim that the series argues with is the only score to be quoted.
        assert set(re.findall(r"\d+(?:\.\d+)? ?%", prose)) <= {"95 %", "97 %"}


@pytest.mark.parametrize("step", NOTEBOOKS)
class TestExecuted:
    """The copies that a run leaves."""

    def test_ran_to_the_last_cell(self, run, step):
        cells = code_cells(read(run, step))
        assert all(cell.execution_count for cell in cells)
        assert "Next: " in text_of(read(run, step)) or step == NOTEBOOKS[-1]

    def test_shows_no_error_and_no_noise(self, run, step):
        for output in outputs_of(read(run, step)):
            assert output.output_type != "error"
            assert output.get("name") != "stderr", output.get("text")
        assert "Traceback" not in text_of(read(run, step))

    def test_widgets_are_in_the_file(self, run, step):
        notebook = read(run, step)
        kind = "application/vnd.jupyter.widget-{}+json".format
        data = [output.get("data", {}) for output in outputs_of(notebook)]
        shown = [one[kind("view")]["model_id"] for one in data if kind("view") in one]
        state = notebook.metadata.get("widgets", {}).get(kind("state"), {})
        assert set(shown) <= set(state.get("state", {}))
        assert bool(shown) == (step in ("01_explore", "03_augment", "07_predict_live"))
        assert "Traceback" not in json.dumps(state)

    def test_left_its_results(self, run, step):
        for name in RESULTS[step]:
            assert (run / name).stat().st_size > 0, name
        drawn = [o for o in outputs_of(read(run, step)) if "image/png" in o.get("data", {})]
        files = list((run / "figures").glob(f"{step[:2]}_*.png"))
        assert drawn and len(drawn) == len(files)

    def test_says_that_the_demo_is_synthetic(self, run, step):
        assert "says nothing about real speech" in text_of(read(run, step))

    def test_is_small_enough_to_open(self, run, step):
        long = step in ("01_explore", "03_augment", "06_evaluate")
        assert (run / f"{step}.ipynb").stat().st_size < (3e6 if long else 2e6)
        players = [o for o in outputs_of(read(run, step)) if "<audio" in str(o.get("data", ""))]
        assert len(players) <= 6


def test_terminal_shows_a_line_a_notebook(run):
    lines = (run / "terminal.txt").read_text(encoding="utf-8").splitlines()
    for place, step in enumerate(NOTEBOOKS, 1):
        assert any(re.match(rf"\[{place}/7\] {step} … done in [\d.]+ s", line) for line in lines)


def test_01_names_only_the_cells_that_are_empty(capsys):
    (cell,) = [c.source for c in code_cells(read(FOLDER, "01_explore")) if "is never" in c.source]
    rows = [("sad", "normal"), ("sad", "strong"), ("neutral", "normal")]
    exec(cell, {"pd": pd, "clips": pd.DataFrame(rows, columns=["emotion", "intensity"])})
    assert capsys.readouterr().out == "neutral is never strong\n"


def test_run_json_says_what_was_run(run):
    record = json.loads((run / "run.json").read_text(encoding="utf-8"))
    assert record["status"] == "done"
    assert set(record["notebooks"]) == set(NOTEBOOKS)
    assert record["parameters"] == {"CORPORA": "demo", "RUN": "demo", **SMALL}
    assert record["data"]["clips"] == 560 and record["data"]["fingerprint"]
    assert record["versions"]["keras"] and record["seed"] == 0


def test_index_links_every_page(run):
    page = (run / "index.html").read_text(encoding="utf-8")
    for step in NOTEBOOKS:
        assert f'href="{step}.html"' in page and (run / f"{step}.html").exists()
    assert "says nothing about real speech" in page and "speaker-independent" in page
    record = json.loads((run / "run.json").read_text(encoding="utf-8"))
    for step, done in record["notebooks"].items():
        assert f"{done['seconds']:.1f} s" in page
        copy = (run / f"{step}.html").read_text(encoding="utf-8")
        assert f"took {done['seconds']:.0f} s" in copy


def test_metrics_name_their_protocol(run):
    metrics = json.loads((run / "metrics.json").read_text(encoding="utf-8"))
    assert set(metrics["protocols"]) == {"speaker-independent", "random-80-20", "enrolled"}
    assert {"mfcc_lstm", "lstm", "cnn", "cnn_lstm", "functionals_mlp", "vector_cnn"} < set(
        metrics["protocols"]["speaker-independent"]
    )
    for protocol, scores in metrics["protocols"].items():
        for score in scores.values():
            assert score["protocol"] == protocol and score["n"] > 0
            low, high = score["uar_interval"]
            assert 0 <= low <= score["uar"] <= high <= 1


def test_metrics_hold_every_part_of_06(run):
    metrics = json.loads((run / "metrics.json").read_text(encoding="utf-8"))
    strict = metrics["protocols"]["speaker-independent"]
    assert {"svm", "fusion", "majority", "chance"} < set(strict)
    tested = strict["svm"]  # one neutral clip of each person is known, and not tested
    known = metrics["protocols"]["enrolled"]["svm"]
    assert known["n"] == tested["n"] - tested["n_speakers"]
    assert set(metrics["leakage"]) == {"leaky", "random-80-20", "speaker-independent"}
    assert {row["grouping"] for row in metrics["groups"]} == {"sex", "pitch", "speaker"}
    assert metrics["robustness"][0]["condition"] == "as recorded"
    assert all(row["n"] == 14 for row in metrics["robustness"])
    tests = {row["test"] for row in metrics["checks"]}
    assert {"scores", "groups by sex"} < tests
    assert metrics["cross_corpus"] == []  # one corpus, and not people
    sure = metrics["calibration"]
    assert 0 <= sure["ece"] <= 1
    assert sure["threshold"] == read_card(run / "model.keras")["threshold"]


def test_the_card_in_the_model_and_the_page_tell_the_same(run):
    metrics = json.loads((run / "metrics.json").read_text(encoding="utf-8"))
    described = json.dumps(read_card(run / "model.keras")["description"])
    page = (run / "model_card.html").read_text(encoding="utf-8")
    uar = metrics["protocols"]["speaker-independent"]["model.keras"]["uar"]
    assert str(uar) in described and f"{uar:.3f}" in page
    assert 'href="model_card.html"' in (run / "index.html").read_text(encoding="utf-8")


def test_a_model_that_began_from_another_names_its_recordings(run):
    begun = read_card(run / "models/speaker-independent/pretrained.keras")
    base = read_card(SHIPPED)
    assert begun["began_from"] == base["name"] and begun["synthetic"]
    assert begun["corpora"] == sorted({"demo", *base["corpora"]}) == sorted(begun["licences"])
    page = render("card.html", **describe_model(begun))
    assert (
        "CC BY-NC-SA 4.0" in page and "It began from the model that comes with the project" in page
    )
    assert "knows nothing of people" not in page
    alone = read_card(run / "models/speaker-independent/cnn.keras")
    assert alone["corpora"] == ["demo"] and alone["began_from"] == ""


def test_no_test_speaker_was_heard_in_training(run):
    card = read_card(run / "model.keras")
    sides = {name: set(speakers) for name, speakers in card["speakers"].items()}
    assert not sides["test"] & (sides["train"] | sides["validation"])
    assert not sides["train"] & sides["validation"]


def test_prediction_equals_the_score_of_06(run):
    scored = pd.read_csv(run / "predictions.csv")
    scored = scored[scored["model"] == "model.keras"].iloc[:5]
    predictor = Predictor(run / "model.keras")
    for one in scored.itertuples():
        alone = predictor.predict_files([one.path]).iloc[0]
        assert alone["emotion"] == one.predicted
        assert alone["confidence"] == pytest.approx(one.confidence, abs=1e-6)


def test_a_notebook_opened_too_early_says_which_comes_first(tmp_path):
    import papermill

    with pytest.raises(papermill.PapermillExecutionError, match="01_explore"):
        papermill.execute_notebook(
            str(FOLDER / "02_features.ipynb"),
            str(tmp_path / "out.ipynb"),
            parameters={"RUN": "never-made"},
            kernel_name="python3",
            progress_bar=False,
            cwd=str(FOLDER),
        )


def test_answers_of_the_exercises_run(run, tmp_path, monkeypatch):
    """Behind the set-up of their notebook alone, as they say, and with the files of the run."""
    import papermill

    together = nbformat.v4.new_notebook()
    # One kernel for all saves a minute. 01 comes last: its set-up begins a run anew.
    for step in [*NOTEBOOKS[1:], NOTEBOOKS[0]]:
        cells = read(FOLDER, step).cells
        set_up = next(place for place, cell in enumerate(cells) if "use_style()" in cell.source)
        (exercises,) = [c.source for c in cells if c.source.startswith("## Exercises")]
        answers = re.findall(r"^```python\n(.*?)^```", exercises, re.M | re.S)
        assert len(answers) >= 3
        for place, cell in enumerate(cells[: set_up + 1]):
            cell["id"] = f"{step}-{place}"
            together.cells.append(cell)
        together.cells += [nbformat.v4.new_code_cell(f"# {step}\n{text}") for text in answers]
    nbformat.write(together, tmp_path / "answers.ipynb")
    shutil.copytree(run, tmp_path / "outputs/demo")
    (tmp_path / "outputs/.cache").symlink_to(run.parent / ".cache")
    monkeypatch.setenv("SER_OUTPUTS", str(tmp_path / "outputs"))
    monkeypatch.delenv("MPLBACKEND", raising=False)
    done = papermill.execute_notebook(
        str(tmp_path / "answers.ipynb"),
        str(tmp_path / "done.ipynb"),
        kernel_name="python3",
        progress_bar=False,
        cwd=str(FOLDER),
    )
    answered = [cell for cell in code_cells(done) if re.match(r"# 0\d_", cell.source)]
    assert len(answered) >= 3 * len(NOTEBOOKS)
    assert [cell.source for cell in answered if not cell.outputs] == []


def test_an_experiment_from_one_change_to_a_verdict(run, monkeypatch, capsys):
    """`ser run --base demo --from NN --run mine`, then `ser compare demo mine`."""
    monkeypatch.setenv("SER_OUTPUTS", str(run.parent))
    before = (run / "run.json").read_text(encoding="utf-8")
    assert main(["run", "--base", "demo", "--from", "07", "--run", "mine", "-p", "SEED=1"]) == 0
    assert main(["compare", "demo", "mine"]) == 0
    assert "undecided" in capsys.readouterr().out
    record = json.loads((run.parent / "mine/run.json").read_text(encoding="utf-8"))
    assert record["run"] == "mine" and set(record["notebooks"]) == set(NOTEBOOKS)
    assert record["parameters"]["EPOCHS"] == 2 and record["parameters"]["SEED"] == 1
    assert (run / "run.json").read_text(encoding="utf-8") == before
    for wrong in (["--from", "07", "--run", "mine"], ["--from", "07"], ["--run", "new"]):
        assert main(["run", "--base", "demo", *wrong]) == 2
    # A parameter that is none is refused before anything is copied: the right one may follow.
    assert main(["run", "--base", "demo", "--from", "07", "--run", "other", "-p", "SED=1"]) == 2
    assert not (run.parent / "other").exists()


@pytest.mark.parametrize("step", NOTEBOOKS)
def test_every_picture_of_a_page_is_described(run, step):
    page = (run / f"{step}.html").read_text(encoding="utf-8")
    shown = re.sub(r"<script.*?</script>", "", page, flags=re.S)  # the state of widgets
    images = re.findall(r"<img [^>]*>", shown)
    described = [re.search(r'alt="([^"]*)"', image) for image in images]
    assert images and all(found and len(found[1]) > 5 for found in described)
    assert "No description" not in page
    place = NOTEBOOKS.index(step)
    for beside in NOTEBOOKS[max(place - 1, 0) : place] + NOTEBOOKS[place + 1 : place + 2]:
        assert f'href="{beside}.html"' in page
    assert not re.search(r"<(script|link)[^>]+(src|href)=.https?:", page)  # opens without network
