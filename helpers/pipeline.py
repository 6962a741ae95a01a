"""The seven notebooks in a row, headless: papermill, a run folder, an index page."""

from __future__ import annotations

import ast
import html
import os
import re
import time
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from helpers.corpora import CORPORA, load_corpora, parse_names
from helpers.parallel import KEEP_MEMORY
from helpers.runs import (
    NOTEBOOKS,
    PROJECT_ROOT,
    Run,
    atomic_write,
    data_home,
    open_run,
    outputs_home,
    package_versions,
)

NOTEBOOK_FOLDER = PROJECT_ROOT / "notebooks"
_CELL_TIMEOUT_S = 3600


class ParameterError(ValueError):
    """A notebook parameter or step that does not exist."""


def run_notebooks(
    *,
    corpora: str | None = None,
    run_name: str | None = None,
    start: str | None = None,
    only: str | None = None,
    parameters: dict[str, object] | None = None,
) -> int:
    """Execute the notebooks and say how it went.

    Parameters
    ----------
    corpora : str, optional
        As ``--corpora``; ``demo`` by default, or what the run was made with when it does not
        start at 01.
    run_name : str, optional
        Folder under ``outputs/``; made from the corpora by default.
    start, only : str, optional
        Number or name of a notebook.
    parameters : dict, optional
        Notebook parameters; each goes to every notebook that has one of that name. Text is read
        as a number where the notebook's default is one.

    Returns
    -------
    int
        0, or 1 if a cell failed.

    Raises
    ------
    ParameterError
        Unknown notebook or parameter, or one of the wrong type.
    UserError
        Unknown or missing corpus, before anything is run.
    """
    steps = _choose_steps(start, only)
    given = dict(parameters or {})
    for name, option, value in (("CORPORA", "--corpora", corpora), ("RUN", "--run", run_name)):
        if value and given.get(name, value) != value:
            raise ParameterError(f"{option} {value} and -p {name}={given[name]}: give one of them")
    corpora = corpora or given.pop("CORPORA", None)
    names = parse_names(corpora or "demo")
    run = open_run(run_name or given.pop("RUN", None) or _default_name(names))
    if steps[0] == NOTEBOOKS[0]:
        # Before the first notebook starts: a missing corpus is explained here, in the terminal.
        load_corpora(names)
        given["CORPORA"] = ",".join(names)
    elif corpora:
        _check_same_corpora(run, names)
    given["RUN"] = run.name
    if given.get("FILE"):
        # Notebooks run in notebooks/; the terminal means its own folder.
        given["FILE"] = os.path.abspath(str(given["FILE"]))
    known = {step: read_parameters(step) for step in NOTEBOOKS}
    given = _check_parameters(given, {step: known[step] for step in steps})

    record = _Record(run, steps, given)
    print(f"run {run.name}: {len(steps)} notebooks, corpora {record.content['corpora']}")
    for place, step in enumerate(steps, 1):
        print(f"[{place}/{len(steps)}] {step} … ", end="", flush=True)
        chosen = {name: value for name, value in given.items() if name in known[step]}
        begin = time.perf_counter()
        try:
            error = _execute(step, run, chosen)
        except KeyboardInterrupt:
            record.finish(step, time.perf_counter() - begin, "stopped from the keyboard")
            raise
        seconds = time.perf_counter() - begin
        record.finish(step, seconds, error)
        print(f"{'failed' if error else 'done'} in {seconds:.1f} s", flush=True)
        if error:
            print(f"\n{error}\n\nThe executed copy, up to that cell: {run.path(step + '.ipynb')}")
            break
    index = write_index(run)
    print(f"everything is listed in {index}")
    return 1 if error else 0


def read_parameters(step: str) -> dict[str, object]:
    """Parameters of a notebook with their default values.

    Raises
    ------
    ParameterError
        A default is not a literal.
    """
    from papermill import inspect_notebook

    path = NOTEBOOK_FOLDER / f"{step}.ipynb"
    values = {}
    for name, item in inspect_notebook(str(path)).items():
        try:
            values[name] = ast.literal_eval(item["default"])
        except (ValueError, SyntaxError) as error:
            raise ParameterError(
                f"{path}: parameter {name} = {item['default']}: expected a literal, such as a "
                "number or a text in quotes; compute it in the next cell"
            ) from error
    return values


def _choose_steps(start: str | None, only: str | None) -> list[str]:
    if only:
        return [_find_step(only)]
    return list(NOTEBOOKS[NOTEBOOKS.index(_find_step(start)) :]) if start else list(NOTEBOOKS)


def _find_step(text: str) -> str:
    found = [step for step in NOTEBOOKS if step == text or step[:2] == text.zfill(2)]
    if not found:
        raise ParameterError(f"notebook {text!r}: expected one of {', '.join(NOTEBOOKS)}")
    return found[0]


def _default_name(names: list[str]) -> str:
    parts = [name if name in CORPORA else Path(name).stem for name in names]
    return re.sub(r"[^\w.-]+", "-", "-".join(parts)).strip("-.")[:80] or "own"


def _check_same_corpora(run: Run, names: list[str]) -> None:
    before = run.read_json("data.json", made_by=NOTEBOOKS[0])["corpora"]
    if before != names:
        raise ParameterError(
            f"run {run.name!r} was made with {','.join(before)}, not {','.join(names)}. "
            "Start at 01, or name another run with --run."
        )


def _check_parameters(given: dict, known: dict[str, dict]) -> dict:
    """``given`` with text read as what the notebooks expect; raises for what does not fit."""
    every = {name: value for one in known.values() for name, value in one.items()}
    fitting = {}
    for name, value in given.items():
        if name not in every:
            raise ParameterError(
                f"parameter {name}: no notebook of this run has one; "
                f"known are {', '.join(sorted(every))}"
            )
        default = every[name]
        if isinstance(value, str) and not isinstance(default, str):
            with suppress(ValueError, SyntaxError):  # stays text, and is refused below
                value = ast.literal_eval(value.strip())
        fits = isinstance(value, type(default)) and isinstance(value, bool) == isinstance(
            default, bool
        )
        if not (fits or (isinstance(default, float) and type(value) is int)):
            raise ParameterError(
                f"parameter {name}={value!r}: expected {type(default).__name__}, "
                f"such as the default {default!r}"
            )
        fitting[name] = value
    return fitting


def _execute(step: str, run: Run, parameters: dict[str, object]) -> str | None:
    """Run one notebook; return what went wrong, or None."""
    import papermill

    target = run.path(f"{step}.ipynb")
    target.parent.mkdir(parents=True, exist_ok=True)
    # Notebooks run in notebooks/, where a relative folder would mean something else.
    environment = {"PYTHONHASHSEED": "0", "JUPYTER_PREFER_ENV_PATH": "1", **KEEP_MEMORY}
    if os.environ.get("SER_DATA"):
        environment["SER_DATA"] = str(data_home())
    if os.environ.get("SER_OUTPUTS"):
        environment["SER_OUTPUTS"] = str(outputs_home().resolve())
    os.environ.update(environment)
    # The Agg backend would drop every inline figure without a word.
    os.environ.pop("MPLBACKEND", None)
    try:
        papermill.execute_notebook(
            str(NOTEBOOK_FOLDER / f"{step}.ipynb"),
            str(target),
            parameters=parameters,
            kernel_name="python3",
            progress_bar=False,
            execution_timeout=_CELL_TIMEOUT_S,
            cwd=str(NOTEBOOK_FOLDER),
            # What it says of connections and of its end would land between the progress lines.
            extra_arguments=["--IPKernelApp.log_level=CRITICAL"],
        )
    except papermill.PapermillExecutionError as error:
        return f"{step}, cell {error.exec_count}: {error.ename}: {error.evalue}"
    except Exception as error:  # a dead kernel, a timeout: whatever it is, the run stops with it
        return f"{step}: {type(error).__name__}: {error}"
    return None


class _Record:
    """``run.json``: what was run with what, kept up to date after every notebook."""

    def __init__(self, run: Run, steps: list[str], parameters: dict[str, object]) -> None:
        self.run = run
        path = run.path("run.json")
        before = {}
        if steps[0] != NOTEBOOKS[0] and path.exists():
            before = run.read_json("run.json", made_by=NOTEBOOKS[0])
        self.content = {
            "run": run.name,
            "corpora": parameters.get("CORPORA") or before.get("corpora"),
            "parameters": before.get("parameters", {}) | parameters,
            "seed": parameters.get("SEED", before.get("seed", 0)),
            "versions": package_versions(),
            "started": datetime.now(UTC).isoformat(timespec="seconds"),
            "status": "running",
            "notebooks": before.get("notebooks", {}),
        }
        run.save_json(self.content, "run.json")

    def finish(self, step: str, seconds: float, error: str | None) -> None:
        self.content["notebooks"][step] = {
            "status": "failed" if error else "done",
            "seconds": round(seconds, 1),
            "executed": f"{step}.ipynb",
            **({"error": error} if error else {}),
        }
        done = [item["status"] for item in self.content["notebooks"].values()]
        whole = len(done) == len(NOTEBOOKS) and set(done) == {"done"}
        self.content["status"] = "failed" if error else ("done" if whole else "partial")
        data = self.run.path("data.json")
        if data.exists():
            self.content["data"] = self.run.read_json("data.json", made_by=NOTEBOOKS[0])
        self.content["finished"] = datetime.now(UTC).isoformat(timespec="seconds")
        self.run.save_json(self.content, "run.json")


def write_index(run: Run) -> Path:
    """Write ``index.html``: the executed notebooks as pages, the scores, the figures."""
    import nbformat
    from nbconvert import HTMLExporter

    record = run.read_json("run.json", made_by="01_explore")
    rows = []
    for step, item in sorted(record["notebooks"].items()):
        executed, page = run.path(f"{step}.ipynb"), run.path(f"{step}.html")
        if executed.exists() and (
            not page.exists() or page.stat().st_mtime < executed.stat().st_mtime
        ):
            notebook = _without_widgets(nbformat.read(executed, as_version=4))
            body, _ = HTMLExporter(template_name="lab").from_notebook_node(notebook)
            with atomic_write(page) as temporary:
                temporary.write_text(body, encoding="utf-8")
        rows.append(
            f'<tr><td><a href="{step}.html">{step}</a></td><td>{item["status"]}</td>'
            f'<td class="n">{item["seconds"]:.1f} s</td>'
            f'<td><a href="{step}.ipynb">ipynb</a></td></tr>'
        )
    figures = "".join(
        f'<figure><img src="figures/{html.escape(p.name)}" alt="{html.escape(p.stem)}"'
        f' loading="lazy">'
        f"<figcaption>{html.escape(p.stem.replace('_', ' '))}</figcaption></figure>"
        for p in sorted(run.path("figures").glob("*.png"))
    )
    synthetic = record.get("data", {}).get("synthetic")
    card = '<p><a href="model_card.html">The model card</a></p>'
    page = _PAGE.format(
        name=html.escape(run.name),
        corpora=html.escape(str(record["corpora"])),
        status=record["status"],
        finished=record.get("finished", ""),
        notice='<p class="notice">Synthetic demo voices: says nothing about real speech.</p>'
        if synthetic
        else "",
        rows="".join(rows),
        scores=_score_rows(run),
        card=card if run.path("model_card.html").exists() else "",
        figures=figures,
    )
    with atomic_write(run.path("index.html")) as temporary:
        temporary.write_text(page, encoding="utf-8")
    return run.path("index.html")


def _without_widgets(notebook):
    """Leave what a widget shows where there is no kernel: a page cannot draw the widget itself."""
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            if "text/html" in output.get("data", {}):
                output["data"].pop("application/vnd.jupyter.widget-view+json", None)
    return notebook


def _score_rows(run: Run) -> str:
    if not run.path("metrics.json").exists():
        return ""
    metrics = run.read_json("metrics.json", made_by="06_evaluate")
    rows = [
        f"<tr><td>{html.escape(model)}</td><td>{protocol}</td>"
        f'<td class="n">{score["uar"]:.3f} [{score["uar_interval"][0]:.3f}, '
        f'{score["uar_interval"][1]:.3f}]</td><td class="n">{score["accuracy"]:.3f}</td>'
        f'<td class="n">{score["n"]} clips, {score["n_speakers"]} speakers</td></tr>'
        for protocol, scores in metrics["protocols"].items()
        for model, score in scores.items()
    ]
    return (
        "<h2>Scores on the test side</h2><table><tr><th>model</th><th>protocol</th>"
        "<th>UAR [95 % interval]</th><th>accuracy</th><th>n</th></tr>" + "".join(rows) + "</table>"
    )


_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width,initial-scale=1">
<title>{name}: speech emotion recognition</title><style>
body{{font:16px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:60rem;padding:0 1rem}}
table{{border-collapse:collapse;margin:1rem 0}}th{{text-align:left}}
td,th{{padding:.3rem 1rem .3rem 0;border-bottom:1px solid #ddd}}
.n{{font-variant-numeric:tabular-nums}}
.notice{{border-left:6px solid #b00020;padding:.5rem 1rem;background:#b0002014}}
figure{{display:inline-block;margin:0 1rem 1rem 0;vertical-align:top;width:28rem;max-width:100%}}
img{{width:100%}}figcaption{{font-size:.85rem;color:#555}}
</style></head><body><h1>Run {name}</h1>{notice}
<p>Corpora: {corpora} · {status} · {finished}</p>
<table><tr><th>notebook</th><th></th><th>time</th><th>executed copy</th></tr>{rows}</table>
{scores}{card}<h2>Figures</h2>{figures}</body></html>
"""
