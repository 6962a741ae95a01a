"""The first page of a run: its notebooks as pages, its scores, its figures."""

from __future__ import annotations

from pathlib import Path

from helpers.report.pages import render
from helpers.report.plots import SYNTHETIC_NOTICE
from helpers.runs import Run


def write_index(run: Run) -> Path:
    """Write ``index.html``, and beside it a page of every executed notebook.

    Parameters
    ----------
    run : Run
        Its ``run.json`` says which notebooks were executed.

    Returns
    -------
    Path
        Of the page.

    Raises
    ------
    UserError
        No notebook of the run was executed yet.
    """
    record = run.read_json("run.json", made_by="01_explore")
    for step in record["notebooks"]:
        if run.path(f"{step}.ipynb").exists():
            _export_notebook(run, step)
    metrics = {}
    if run.path("metrics.json").exists():
        metrics = run.read_json("metrics.json", made_by="06_evaluate")
    page = render(
        "index.html",
        run=run.name,
        record=record,
        notice=SYNTHETIC_NOTICE if record.get("data", {}).get("synthetic") else "",
        protocols=metrics.get("protocols", {}),
        has_card=run.path("model_card.html").exists(),
        figures=[path.stem for path in sorted(run.path("figures").glob("*.png"))],
    )
    return run.save_text(page, "index.html")


def _export_notebook(run: Run, step: str) -> None:
    """Make a page of an executed notebook, unless there is one of this execution."""
    import nbformat
    from nbconvert import HTMLExporter

    executed, page = run.path(f"{step}.ipynb"), run.path(f"{step}.html")
    if page.exists() and page.stat().st_mtime >= executed.stat().st_mtime:
        return
    notebook = nbformat.read(executed, as_version=4)
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            # A page without a kernel cannot draw a widget: it shows the words beside it.
            if "text/html" in output.get("data", {}):
                output["data"].pop("application/vnd.jupyter.widget-view+json", None)
    title = {"metadata": {"name": f"{step}, run {run.name}"}}
    text, _ = HTMLExporter(template_name="lab").from_notebook_node(notebook, resources=title)
    run.save_text(text, page.name)
