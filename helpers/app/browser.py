"""The microphone of the person's browser, wherever the kernel runs: a server, Binder, here."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import anywidget
import numpy as np
import traitlets


class BrowserMicrophone(anywidget.AnyWidget):
    """A button that records in the browser and hands the sound to Python.

    Parameters
    ----------
    take : callable
        ``take(y, sr)`` is called with each recording: float32, one channel, and its rate in Hz, as
        the browser says it.
    seconds : float
        Length of a recording; a second press ends it early.
    """

    _esm = Path(__file__).with_name("microphone.js")
    seconds = traitlets.Float(3.0).tag(sync=True)

    def __init__(self, take: Callable[[np.ndarray, float], None], *, seconds: float) -> None:
        super().__init__(seconds=seconds)
        self._take = take
        self.on_msg(self._receive)

    def _receive(self, _widget, content: dict, buffers: list) -> None:
        sound = bytes(buffers[0]) if buffers else b""
        whole = len(sound) // 4 * 4
        self._take(np.frombuffer(sound[:whole], dtype="float32"), content.get("rate"))
