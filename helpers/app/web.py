"""The panel as a web page of its own, without code, for people without a notebook."""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

_WORDS = (
    "<h1>Which emotion was heard?</h1><p>Nothing that you upload or say is kept. The model learned "
    "from actors: what it makes of everyday speech is a guess, and never a reason to judge "
    "anybody.</p>"
)
#: What the page runs.
_CELL = """
from IPython.display import HTML, display
from helpers.app.panel import Panel
from helpers.models.prediction import Predictor
from helpers.models.training import prepare_keras
prepare_keras(0)
predictor = Predictor({model!r})
predictor.warm_up()
display(HTML({words!r}))
display(Panel(predictor, machine=False))
"""
_MAX_MESSAGE_BYTES = 200 * 2**20  # a larger upload than the server takes would end the session
_IDLE_S = 600  # kernels of pages that were closed without a word


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
    import nbformat
    from nbformat.v4 import new_code_cell, new_notebook
    from voila.app import Voila

    with tempfile.TemporaryDirectory() as folder:
        kernel = {"name": "python3", "display_name": "Python", "language": "python"}
        cell = new_code_cell(_CELL.format(words=_WORDS, model=str(model)).strip())
        page = new_notebook(
            cells=[cell], metadata={"kernelspec": kernel, "title": "Which emotion?"}
        )
        path = os.path.join(folder, "emotion.ipynb")
        nbformat.write(page, path)
        # The kernels are of this environment, whatever else is installed.
        os.environ["JUPYTER_PREFER_ENV_PATH"] = "1"
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
        Voila.launch_instance([path, *options])
