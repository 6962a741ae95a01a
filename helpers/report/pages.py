"""Pages and notices from the templates beside this module; whatever text goes in is escaped.

The index lists what a run has. The model card says what a model is, how good, for whom, for what,
and for what not.
"""

from __future__ import annotations

import base64
import io
import json
import re
from contextlib import suppress
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from helpers.columns import PROTOCOLS
from helpers.corpora import CORPORA
from helpers.runs import NOTEBOOKS, Run, dump_json

SYNTHETIC_NOTICE = "Synthetic demo voices: says nothing about real speech"
_MAIN_MODEL = "model.keras"
#: What the page says of a model.
_MODEL: tuple[str, ...] = ("name", "input", "classes", "parameters", "sample_rate", "features")
_MODEL += ("protocol", "began_from", "temperature", "threshold", "target_accuracy", "training")
_CORPUS = ("title", "voices", "language", "licence", "citation", "heard_by_people")
_OF_EMOTIONS = ("by_emotion", "classes", "confusion")


def render(template: str, **parts: object) -> str:
    """Fill in a file of ``templates/``: HTML that needs no script and no other style sheet.

    Examples
    --------
    >>> "<img" in render("notice.html", notice="<img src=x>")
    False
    """
    return _TEMPLATES.get_template(template).render(parts)


def message_html(headline: str, *lines: str, color: str, details: str = "") -> str:
    """A box with a coloured edge, readable on light and dark pages; any text is safe in it.

    >>> "<img" in message_html("heard", "<img src=x>.wav", color="#767676")
    False
    """
    return render("message.html", headline=headline, lines=lines, color=color, details=details)


def embed_figure(figure, *, width: int, alt: str) -> str:
    """A figure as HTML, this many pixels wide but never wider than its page, with words for it.

    It is a JPEG: a third of the size of a PNG, and a notebook with several pictures stays light.
    """
    picture = io.BytesIO()
    figure.savefig(picture, format="jpeg", dpi=100, pil_kwargs={"quality": 85})
    data = base64.b64encode(picture.getvalue()).decode()
    return render("picture.html", data=data, alt=alt, width=width)


def write_index(run: Run) -> Path:
    """Write ``index.html``, and beside it a page of every executed notebook.

    Raises
    ------
    UserError
        No notebook of the run was executed yet.
    """
    record = run.read_json("run.json", made_by="01_explore")
    for step, done in record["notebooks"].items():
        if run.path(f"{step}.ipynb").exists():
            _export_notebook(run, step, done["seconds"])
    scored = run.path("metrics.json").exists()
    metrics = run.read_json("metrics.json", made_by="06_evaluate") if scored else {}
    page = render(
        "index.html",
        run=run.name,
        record=record,
        notice=SYNTHETIC_NOTICE if record.get("data", {}).get("synthetic") else "",
        protocols=metrics.get("protocols", {}),
        selected=metrics.get("selected", ""),
        has_card=run.path("model_card.html").exists(),
        figures={
            path.stem: _describe_figure(path) or path.stem.replace("_", " ")
            for path in sorted(run.path("figures").glob("*.png"))
        },
    )
    return run.save_text(page, "index.html")


def _export_notebook(run: Run, step: str, seconds: float) -> None:
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
        for output in cell.get("outputs", []):
            picture = output.get("data", {}).get("image/png")
            if picture:
                file = io.BytesIO(base64.b64decode(picture))
                output.metadata["alt"] = _describe_figure(file) or heading
            # A page without a kernel cannot draw a widget: it shows the words beside it.
            if output.get("data", {}).pop("application/vnd.jupyter.widget-view+json", None):
                output["data"].setdefault("text/html", "<p>This part needs JupyterLab.</p>")
    before, _, after = (" ".join(NOTEBOOKS) + " ").partition(f"{step} ")
    ways = [(f"← {name}", f"{name}.html") for name in before.split()[-1:]]
    ways += [(f"{name} →", f"{name}.html") for name in after.split()[:1]]
    names = {"metadata": {"name": f"{step}, run {run.name}"}}
    resources = names | {"ways": ways, "seconds": seconds}
    template = Path(__file__).with_name("templates") / "notebook.html"
    exporter = HTMLExporter(raw_template=template.read_text(encoding="utf-8"))
    text, _ = exporter.from_notebook_node(notebook, resources=resources)
    run.save_text(text, page.name)


def _describe_figure(file) -> str:
    """The titles of a figure of :func:`helpers.report.plots.save_figure`."""
    from PIL import Image

    with suppress(OSError), Image.open(file) as image:
        return image.info.get("Description", "")
    return ""


def describe_model(card: dict, metrics: dict | None = None) -> dict:
    """Gather the facts of a model card, for the template ``card.html``.

    After Mitchell et al. 2019 (arXiv 1810.03993). What was not measured is called so; a score
    always says its protocol, n and interval.

    Parameters
    ----------
    card : dict
        From :func:`helpers.models.modelfile.read_card`.
    metrics : dict, optional
        What notebook 06 writes to ``metrics.json``; any part may be missing.

    Returns
    -------
    dict
        Plain JSON. Figures are those of the metrics; what is missing there is empty or None here.
    """
    card, metrics = json.loads(dump_json([card, metrics or {}]))
    data = {**metrics.get("data", {}), **card, "clips": metrics.get("data", {}).get("clips")}
    main = card.get("protocol", PROTOCOLS[0])
    scores = _list_scores(metrics, main)
    synthetic = bool(data.get("synthetic"))
    chosen = metrics.get("protocols", {}).get(main, {}).get(_MAIN_MODEL, {})
    speakers = card.get("speakers", {})
    return {
        "title": f"Speech emotion recognition: {card.get('name', 'a model')}",
        "synthetic": synthetic,
        "warnings": [f"{SYNTHETIC_NOTICE}."] if synthetic else [],
        "model": {key: card[key] for key in _MODEL if key in card},
        "data": {
            "corpora": [
                _describe_corpus(name, data.get("licences", {}).get(name, ""))
                for name in data.get("corpora", [])
            ],
            "sides": [
                {"side": side, "clips": n, "speakers": len(speakers.get(side, [])) or None}
                for side, n in card.get("clips", {}).items()
            ],
            **{key: data.get(key) for key in ("clips", "rejected", "fold", "fingerprint")},
        },
        "headline": next((score for score in scores if score["is_this"]), None),
        "scores": scores,
        "leakage": [{"name": name, **one} for name, one in metrics.get("leakage", {}).items()],
        "cross_corpus": metrics.get("cross_corpus", []),
        # Without a clip, a recall of 0 would be a slander.
        "by_emotion": [
            {"emotion": name, **(row if row["support"] else {"support": 0})}
            for name in chosen.get("classes", [])
            for row in [chosen["by_emotion"][name]]
        ],
        "confusion": chosen.get("confusion", []),
        "calibration": {"protocol": main, **metrics.get("calibration", {})},
        "groups": [
            {**group, "protocol": main, "uar_interval": [group["low"], group["high"]]}
            for group in metrics.get("groups", [])
        ],
        "gaps": metrics.get("gaps", []),
        "checks": metrics.get("checks", []),
        "versions": card.get("versions", {}),
    }


def _describe_corpus(name: str, licence: str) -> dict:
    if name not in CORPORA:
        return dict.fromkeys(_CORPUS, "") | {"name": name, "title": name, "licence": licence}
    facts = {key: getattr(CORPORA[name], key) for key in _CORPUS}
    facts["heard_by_people"] = list(facts["heard_by_people"] or ())
    return facts | {"name": name, "licence": licence or facts["licence"]}


def _list_scores(metrics: dict, main: str) -> list[dict]:
    """This model first, then the others of its protocol by UAR, then the other protocols."""
    scores = []
    for protocol, models in metrics.get("protocols", {}).items():
        for name, score in models.items():
            is_main = protocol == main
            if is_main and _MAIN_MODEL in models and name == metrics.get("selected"):
                continue  # the same model, there under its own name
            brief = {key: score[key] for key in score if key not in _OF_EMOTIONS}
            scores.append({"name": name, "is_this": is_main and name == _MAIN_MODEL, **brief})

    def place(score: dict) -> tuple:
        protocol = score["protocol"]
        return protocol != main, protocol, not score["is_this"], -score["uar"]

    return sorted(scores, key=place)


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
