"""Ask the model about a sound of your own: an upload, a corpus sample or a microphone.

Building the panel needs neither a browser nor a microphone; what is missing is explained when it is
asked for.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable
from pathlib import Path

import ipywidgets as widgets
import numpy as np
import pandas as pd
from IPython.display import HTML, Image, clear_output, display

from helpers.app.browser import BrowserMicrophone
from helpers.corpora import class_order
from helpers.errors import UserError
from helpers.report import plots
from helpers.report.pages import render
from helpers.sound.audio import SAMPLE_RATE, check_waveform, load_audio
from helpers.sound.microphone import peak_dbfs, record_microphone

_MAX_SAMPLES = 240  # in the menu
_MAX_UPLOAD_MB = 10  # JupyterLab drops a larger message without a word
_ERROR_COLOR = "#B00020"


def analyse(predictor, y: np.ndarray, *, name: str, truth: str = "") -> tuple[pd.Series, list[str]]:
    """Ask the model and put its answer in words.

    Parameters
    ----------
    predictor : helpers.models.prediction.Predictor
    y : np.ndarray, shape (n,), float32
        16 kHz mono.
    name, truth : str
        What the sound is called, and its label if it has one.

    Returns
    -------
    probabilities : pd.Series
        One value per class, in the order of the model.
    words : list of str
        The estimate, what else it could be, what was heard and whether the label agrees.
    """
    row = predictor.predict_audio(y, name=name).iloc[0]
    probabilities, emotion = row[predictor.classes].astype(float), row["emotion"]
    answer = f"{emotion}, {_percent(row['confidence'])}"
    words = [f"{answer} sure" if row["sure"] else f"Not sure. Perhaps {answer}"]
    others = probabilities.drop(emotion).sort_values(ascending=False)[:2]
    if len(others):  # a model may know one class only
        named = [f"{other} {_percent(p)}" for other, p in others.items()]
        words.append(f"Next: {', '.join(named)}.")
    words.append(f"Heard: {name}, {len(y) / SAMPLE_RATE:.1f} s, peak {peak_dbfs(y):.0f} dBFS.")
    if truth and truth not in predictor.classes:
        words.append(f"The clip is labelled {truth}, which this model does not know.")
    elif truth:
        agrees = "the same" if truth == emotion else "not what the model heard"
        words.append(f"The clip is labelled {truth}: {agrees}.")
    return probabilities, words


def _percent(p: float) -> str:
    return "over 99%" if 0.995 <= p < 1 else f"{p:.0%}"  # nearly sure is not sure


def draw_answer(y: np.ndarray, probabilities: pd.Series) -> Image:
    """Probabilities beside waveform and mel spectrogram."""
    from matplotlib.figure import Figure  # not pyplot: nothing to close, nothing shown twice

    height = max(4.0, 0.9 + 0.32 * len(probabilities))
    figure = Figure(figsize=(10, height), layout="constrained")
    axes = figure.subplot_mosaic([["p", "wave"], ["p", "mel"]], width_ratios=[1, 1.5])
    plots.plot_probabilities(probabilities, ax=axes["p"], title="What the model makes of it")
    plots.plot_waveform(y, ax=axes["wave"])
    axes["wave"].set(title="What was heard", xlabel="")
    plots.plot_spectrogram(y, ax=axes["mel"])
    return plots.draw_image(figure, width=900)


def label_samples(samples: pd.DataFrame) -> list[tuple[str, int]]:
    """Name clips for a menu: ``(label, row number)``, by emotion, then speaker.

    Of a large table a fixed random part is offered: a menu of thousands helps nobody.
    """
    clips = samples.reset_index(drop=True)
    clips = clips.sample(min(len(clips), _MAX_SAMPLES), random_state=0)
    clips["emotion"] = pd.Categorical(clips["emotion"], class_order(clips["emotion"]))
    clips = clips.sort_values(["emotion", "speaker", "text", "path"])
    facts = clips[["emotion", "speaker", "text"]].astype(str)
    labels = facts.apply(lambda row: " · ".join(filter(None, row)), axis=1)
    again = labels.groupby(labels).cumcount() + 1
    names = [f"{label} ({n})" if n > 1 else label for label, n in zip(labels, again, strict=True)]
    return list(zip(names, clips.index, strict=True))


def message_html(headline: str, *lines: str, color: str, details: str = "") -> str:
    """A box with a coloured edge, readable on light and dark pages; any text is safe in it.

    >>> "<img" in message_html("heard", "<img src=x>.wav", color="#767676")
    False
    """
    return render("message.html", headline=headline, lines=lines, color=color, details=details)


class Panel(widgets.VBox):
    """Four ways to give a sound, and below them the answer; to be displayed.

    Another source of sound needs a control of its own and a call of :meth:`answer`.

    Parameters
    ----------
    predictor : helpers.models.prediction.Predictor
    samples : pd.DataFrame, optional
        Rows of an utterance table to choose from.
    record_s : float
        Length of a microphone recording in s.
    machine : bool
        Whether the microphone of the kernel's machine is offered as well: to a visitor from
        elsewhere it would be somebody else's room.
    """

    def __init__(
        self,
        predictor,
        *,
        samples: pd.DataFrame | None = None,
        record_s: float = 3.0,
        machine: bool = True,
    ) -> None:
        self.predictor, self.record_s = predictor, record_s
        self.samples = pd.DataFrame() if samples is None else samples
        wide = widgets.Layout(width="15em")
        self.upload = widgets.FileUpload(
            description="Upload a recording", tooltip="Choose a sound file", layout=wide
        )
        self.listen = widgets.Button(description="Listen", icon="headphones", layout=wide)
        self.sample = widgets.Dropdown(
            options=label_samples(self.samples) if len(self.samples) else [],
            layout=widgets.Layout(width="30em"),
        )
        self.speak = BrowserMicrophone(self._hear, seconds=record_s)
        self.record = widgets.Button(icon="microphone", layout=wide)
        self.level = widgets.FloatProgress(
            min=-60, max=0, layout=widgets.Layout(width="14em", display="none")
        )
        self.hint = widgets.HTML()
        self.output = widgets.Output()
        self._recorder_at_rest()
        self.upload.observe(self._upload, names="value")
        self.listen.on_click(self._listen)
        self.record.on_click(self._record)
        rows = [
            widgets.HBox([self.upload, widgets.HTML(f"any format, up to {_MAX_UPLOAD_MB} MB")]),
            widgets.HBox([self.listen, self.sample]),
            self.speak,
            widgets.HBox([self.record, self.level, self.hint]),
        ]
        if not machine:
            del rows[-1]
        if self.samples.empty:
            del rows[1]
        notice = widgets.HTML(plots.synthetic_notice(predictor.is_synthetic).data)
        super().__init__([notice, *rows, self.output])

    def answer(self, hear: Callable[[], np.ndarray], *, name: str, truth: str = "") -> None:
        """Show what the model makes of the sound that ``hear()`` returns, or why there is none."""
        self._set_disabled(True)
        with self.output:  # whatever is printed on the way is seen as well
            try:
                clear_output(wait=True)
                y = hear()
                self._recorder_at_rest()
                probabilities, words = analyse(self.predictor, y, name=name, truth=truth)
                color = plots.emotion_colors(self.predictor.classes)[probabilities.idxmax()]
                display(HTML(message_html(*words, color=color)))
                display(plots.player(y))
                display(draw_answer(y, probabilities))
            except UserError as error:
                self._show_error(str(error))
            except Exception:  # an error in a widget's callback would be seen by nobody
                self._show_error("An unexpected error", details=traceback.format_exc())
            finally:
                self._recorder_at_rest()
                self._set_disabled(False)

    def _show_error(self, line: str, details: str = "") -> None:
        display(HTML(message_html("⚠ No answer", line, color=_ERROR_COLOR, details=details)))

    def _repr_mimebundle_(self, **kwargs) -> dict:
        """The panel, and beside it what a page without a kernel shows in its place."""
        words = "Open this notebook in JupyterLab (make lab) and run it: the panel needs a kernel."
        page = message_html("Here stands the panel", words, color="#767676")
        return super()._repr_mimebundle_(**kwargs) | {"text/html": page}

    def _set_disabled(self, disabled: bool) -> None:
        for control in (self.upload, self.listen, self.sample, self.record):
            control.disabled = disabled

    def _recorder_at_rest(self) -> None:
        self.record.description = f"Record {self.record_s:g} s"
        self.level.layout.display = "none"
        self.hint.value = "with the microphone of the machine on which the kernel runs"

    def _upload(self, change: dict) -> None:
        if not change["new"]:
            return
        file = change["new"][0]
        self.answer(lambda: load_audio(file["content"], name=file["name"]), name=file["name"])
        self.upload.value = ()  # so that the same file can be chosen again

    def _listen(self, _button: widgets.Button) -> None:
        clip = self.samples.iloc[self.sample.value]
        self.answer(
            lambda: load_audio(clip["path"]), name=Path(clip["path"]).name, truth=clip["emotion"]
        )

    def _hear(self, y: np.ndarray, sr: float) -> None:
        name = "the microphone of the browser"
        self.answer(lambda: check_waveform(y, sr=sr, name=name), name=name)

    def _record(self, _button: widgets.Button) -> None:
        self.record.description, self.hint.value = "Opening…", "waking the microphone"
        self.level.layout.display = ""
        self.level.value = self.level.min
        self.answer(
            lambda: record_microphone(self.record_s, on_level=self._show_level),
            name="the microphone",
        )

    def _show_level(self, recorded_s: float, level_dbfs: float) -> None:
        self.record.description = "Recording…"
        self.level.value = max(self.level.min, level_dbfs)
        self.level.bar_style = "danger" if level_dbfs > -0.5 else "success"
        left = f"{self.record_s - recorded_s:.1f} s left, peak {level_dbfs:.0f} dBFS"
        self.hint.value = render("recording.html", left=left)
