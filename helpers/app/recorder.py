"""One button that records: in the person's browser, or on the machine of the kernel."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import anywidget
import numpy as np
import traitlets

from helpers.app.live import LONGEST_S, Live, say
from helpers.errors import UserError
from helpers.report.plots import emotion_colors
from helpers.sound.microphone import Microphone, peak_dbfs

_HIGHEST_RATE = 192_000  # Hz
_STRANGE = "The page did not send its sound, or its sample rate. Load it again."


class Recorder(anywidget.AnyWidget):
    """Buttons to record for some seconds or to speak freely, and a choice of microphones.

    The page sends a piece of sound, or asks for what the machine's microphone has heard, and sends
    the next one when this one is answered: what comes in while the model is busy comes in one
    piece, and nothing has to wait in a queue.

    Parameters
    ----------
    predictor : helpers.models.prediction.Predictor
    take : callable
        ``take(live)`` is called with each :class:`helpers.app.live.Live` that is complete.
    seconds : float
        Length of a recording; a second press ends it early.
    machine : bool
        Whether the microphone of the kernel's machine may be chosen.
    """

    _esm = Path(__file__).with_name("recorder.js")
    _css = Path(__file__).with_name("recorder.css")
    seconds = traitlets.Float(3.0).tag(sync=True)
    longest = traitlets.Float(LONGEST_S).tag(sync=True)
    machine = traitlets.Bool(True).tag(sync=True)
    colors = traitlets.Dict().tag(sync=True)

    def __init__(
        self, predictor, take: Callable[[Live], None], *, seconds: float, machine: bool
    ) -> None:
        colors = emotion_colors(predictor.classes)
        super().__init__(seconds=seconds, machine=machine, colors=colors)
        self.predictor, self._take = predictor, take
        self._live: Live | None = None
        self._microphone: Microphone | None = None
        self.on_msg(self._receive)

    def _receive(self, _widget, content: dict, buffers: list) -> None:
        try:
            if not isinstance(content, dict):
                raise UserError(_STRANGE)
            if content.get("first"):
                self._open(content)
            if self._live is None:
                return
            block = self._microphone.read() if self._microphone else _to_samples(buffers)
            self._live.hear(block)
            answer: dict[str, object] = {"heard_s": self._live.heard_s, "peak": peak_dbfs(block)}
            # Our page ends by itself; memory is not to depend on it.
            answer["last"] = bool(content.get("last")) or self._live.heard_s > LONGEST_S
            if content.get("live"):
                row = self._live.estimate()
                answer |= {"said": say(row), "emotion": row["emotion"]}
                # NaN is no JSON.
                known = [] if row["reason"] else self.predictor.classes
                answer["probabilities"] = {name: round(row[name], 4) for name in known}
            self.send(answer)
            if answer["last"]:
                live = self._live
                self._close()
                self._take(live)
        except Exception as error:  # in a callback nobody would see it
            self._close()
            self.send({"error": str(error)})

    def _open(self, content: dict) -> None:
        self._close()
        if content.get("machine") and self.machine:
            self._microphone = Microphone()
        rate = self._microphone.rate if self._microphone else content.get("rate")
        if not isinstance(rate, int | float) or not 1 <= rate <= _HIGHEST_RATE:
            raise UserError(_STRANGE)
        self._live = Live(self.predictor, sr=rate)

    def _close(self) -> None:
        if self._microphone:
            self._microphone.close()
        self._live = self._microphone = None


def _to_samples(buffers: list) -> np.ndarray:
    sound = bytes(buffers[0]) if buffers else b""
    block = np.frombuffer(sound[: len(sound) // 4 * 4], dtype="float32")
    if not np.isfinite(block).all():
        raise UserError(_STRANGE)
    return block
