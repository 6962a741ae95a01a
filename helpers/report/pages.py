"""Pages and notices from the templates beside this module; whatever text goes in is escaped."""

from __future__ import annotations

from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from helpers.runs import Run

SYNTHETIC_NOTICE = "Synthetic demo voices: says nothing about real speech"


def render(template: str, **parts: object) -> str:
    """Fill in a file of ``templates/``: HTML that needs no script and no other style sheet.

    Examples
    --------
    >>> "<img" in render("notice.html", notice="<img src=x>")
    False
    """
    return _TEMPLATES.get_template(template).render(parts)


def write_index(run: Run) -> Path:
    """Write ``index.html``, and beside it a page of every executed notebook.

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


def _number(value: object, form: str = ".3f") -> str:
    """A dash for nothing; ``.4g`` for a setting, so that 0.0015 is not rounded away."""
    if value is None:
        return "–"
    return format(value, form) if isinstance(value, float) else str(value)


_TEMPLATES = Environment(
    loader=FileSystemLoader(Path(__file__).with_name("templates")),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_TEMPLATES.filters["number"] = _number
