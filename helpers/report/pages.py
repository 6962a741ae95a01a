"""Pages and notices from the templates beside this module; whatever text goes in is escaped."""

from __future__ import annotations

import re
from contextlib import suppress
from html import escape
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from helpers.runs import NOTEBOOKS, Run

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
        selected=metrics.get("selected", ""),
        has_card=run.path("model_card.html").exists(),
        figures={
            path.stem: _describe_figure(run, path.stem)
            for path in sorted(run.path("figures").glob("*.png"))
        },
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
    heading = step
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            heading = [heading, *re.findall(r"^#+ (.+)", cell.source, re.M)][-1]
        drawn = re.search(r"save_figure\(.+?\"(\w+)\"\)", cell.source)
        cell.metadata["alt"] = _describe_figure(run, drawn[1]) if drawn else heading
        for output in cell.get("outputs", []):
            # A page without a kernel cannot draw a widget: it shows the words beside it.
            if output.get("data", {}).pop("application/vnd.jupyter.widget-view+json", None):
                output["data"].setdefault("text/html", "<p>This part needs JupyterLab.</p>")
                image = f'<img alt="{escape(heading)}" '
                output["data"]["text/html"] = output["data"]["text/html"].replace("<img ", image)
    before, _, after = (" ".join(NOTEBOOKS) + " ").partition(f"{step} ")
    ways = [(f"← {name}", f"{name}.html") for name in before.split()[-1:]]
    ways += [(f"{name} →", f"{name}.html") for name in after.split()[:1]]
    resources = {"metadata": {"name": f"{step}, run {run.name}"}, "ways": ways}
    template = Path(__file__).with_name("templates") / "notebook.html"
    exporter = HTMLExporter(raw_template=template.read_text(encoding="utf-8"))
    text, _ = exporter.from_notebook_node(notebook, resources=resources)
    run.save_text(text, page.name)


def _describe_figure(run: Run, name: str) -> str:
    """The titles of a saved figure, which :meth:`helpers.runs.Run.save_figure` wrote into it."""
    from PIL import Image

    described = ""
    with suppress(OSError), Image.open(run.path(f"figures/{name}.png")) as image:
        described = image.info.get("Description")
    return described or name.replace("_", " ")


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
