"""The panel as a web page of its own, without code, for people without a notebook."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from IPython.display import HTML, display

from helpers.app.panel import Panel
from helpers.models.prediction import Predictor, find_model
from helpers.models.training import prepare_keras
from helpers.report import plots
from helpers.runs import Run

_MODEL = "SER_APP_MODEL"  # how the kernels are told
#: Colours as the visitor's system has them; a phone has no room for Voilà's margins.
_STYLE = """
:root {{ color-scheme: light dark; }}
@media (prefers-color-scheme: dark) {{ {dark} }}
@media (max-width: 700px) {{ body #rendered_cells > div {{ padding: 1ex 1.5ex; }} }}
"""
_MAX_UPLOAD_MB = 50
_MAX_MESSAGE_BYTES = 200 * 2**20  # a larger upload than the server takes would end the session
_IDLE_S = 600  # kernels of pages that were closed without a word


def list_test_clips(predictor):
    """Clips that a run's model was tested on, to listen to; None where it lies in no run.

    They are of people whom it has not heard, unless its protocol says otherwise.
    """
    run = Run(predictor.path.parent)
    if not run.path("utterances.csv").exists():
        return None
    clips = run.read_table("utterances.csv", made_by="01_explore")
    protocol = predictor.card.get("protocol")
    return clips[clips[protocol] == "test"] if protocol in clips else None


def show_page() -> None:
    """All that ``page.ipynb`` does: the panel, in the colours of the visitor's system.

    Without :func:`serve`, as on Binder, it is that of the shipped model, and uploads are smaller: a
    Jupyter server takes 10 MB at once unless its settings say otherwise.
    """
    plots.use_style()
    prepare_keras(0)
    predictor = Predictor(os.environ.get(_MODEL) or find_model())
    upload_mb = _MAX_UPLOAD_MB if _MODEL in os.environ else 10
    samples = list_test_clips(predictor)
    panel = Panel(predictor, samples=samples, machine=False, upload_mb=upload_mb)
    panel.warm_up()
    display(HTML(f"<style>{_STYLE.format(dark=_read_dark_theme())}</style>"), panel)


def serve(model: Path, *, port: int) -> None:
    """Serve the panel on this machine until it is stopped from the keyboard.

    To other machines it is served behind a proxy with https, since a browser gives its microphone
    to no other page.

    Parameters
    ----------
    model : Path
        A ``model.keras``.
    port : int
    """
    from voila.app import Voila

    # The kernels are of this environment, whatever else is installed.
    os.environ |= {"JUPYTER_PREFER_ENV_PATH": "1", _MODEL: str(model.resolve())}
    options = [
        f"--port={port}",
        "--no-browser",
        "--preheat_kernel=True",
        "--pool_size=1",
        f"--MappingKernelManager.cull_idle_timeout={_IDLE_S}",
        "--MappingKernelManager.cull_interval=60",
        f"--Voila.tornado_settings={{'websocket_max_message_size': {_MAX_MESSAGE_BYTES}}}",
    ]
    print(f"ser app: http://127.0.0.1:{port}/ (stop with Ctrl+C)", file=sys.stderr, flush=True)
    Voila.launch_instance([str(Path(__file__).with_name("page.ipynb")), *options])


def _read_dark_theme() -> str:
    """The colours of JupyterLab's dark theme, as nbconvert brings them."""
    from jupyter_core.paths import jupyter_path

    folders = jupyter_path("nbconvert", "templates", "lab", "static")
    places = [Path(folder, "theme-dark.css") for folder in folders]
    return next(path for path in places if path.exists()).read_text(encoding="utf-8")
