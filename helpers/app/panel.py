"""Ask the model about a sound of your own: an upload, a corpus sample or a microphone.

Building the panel needs neither a browser nor a microphone; what is missing is explained when it is
asked for.
"""

from __future__ import annotations

import base64
import html
import re
import traceback
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import ipywidgets as widgets
import numpy as np
import pandas as pd
import soundfile
from IPython.display import HTML, clear_output, display

from helpers.app.live import LONGEST_S, Live
from helpers.app.recorder import Recorder
from helpers.corpora import class_order
from helpers.errors import UserError
from helpers.evaluation.explanation import explain_clip
from helpers.features.voice import REASONS
from helpers.report import plots
from helpers.report.figures import plot_explanation
from helpers.report.pages import embed_figure, message_html, render
from helpers.report.timeline import embed_timeline
from helpers.runs import atomic_write
from helpers.sound.audio import SAMPLE_RATE, load_audio
from helpers.sound.microphone import peak_dbfs

_MAX_SAMPLES = 240  # in the menu
_MAX_HISTORY = 20
_NO_ANSWER = "#767676"  # of nothing that is sure
_ERROR = "currentColor"  # no emotion has the colour of the text


def analyse(
    predictor, y: np.ndarray, *, name: str, truth: str = ""
) -> tuple[pd.Series, list[str], pd.DataFrame]:
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
    row : pd.Series
        As :meth:`helpers.models.prediction.Predictor.follow_audio` gives it.
    words : list of str
        The estimate, what else it could be, what was heard and whether the label agrees; or why
        there is no estimate.
    windows : pd.DataFrame
        As the same function gives them.
    """
    table, windows = predictor.follow_audio(y, name=name)
    row = table.iloc[0]
    probabilities, emotion = row[predictor.classes].astype(float), row["emotion"]
    heard = f"Heard: {name}, {len(y) / SAMPLE_RATE:.1f} s, peak {peak_dbfs(y):z.0f} dBFS."
    if row["reason"]:
        return row, [row["reason"].capitalize(), REASONS[row["reason"]], heard], windows
    answer = f"{emotion}, {_percent(row['confidence'])}"
    words = [f"{answer} sure" if row["sure"] else f"Not sure. Perhaps {answer}"]
    others = probabilities.drop(emotion).sort_values(ascending=False)[:2]
    if len(others):  # a model may know one class only
        named = [f"{other} {_percent(p)}" for other, p in others.items()]
        words.append(f"Next: {', '.join(named)}.")
    words.append(heard)
    if truth and truth not in predictor.classes:
        words.append(f"The clip is labelled {truth}, which this model does not know.")
    elif truth:
        agrees = "the same" if truth == emotion else "not what the model heard"
        words.append(f"The clip is labelled {truth}: {agrees}.")
    return row, words, windows


def _percent(p: float) -> str:
    return "over 99%" if 0.995 <= p < 1 else f"{p:.0%}"  # nearly sure is not sure


def draw_bars(probabilities: pd.Series) -> str:
    """One bar per emotion as HTML, which is there at once and fits every page."""
    colors, best = plots.emotion_colors(list(probabilities.index)), probabilities.idxmax()
    bars = [
        {"name": name, "percent": _percent(p), "width": round(100 * p, 1), "color": colors[name]}
        | {"best": name == best}
        for name, p in probabilities.items()
    ]
    said = ", ".join(f"{bar['name']} {bar['percent']}" for bar in bars)
    return render("bars.html", bars=bars, said=said)


def draw_sound(y: np.ndarray) -> str:
    """Waveform and mel spectrogram, as HTML."""
    from matplotlib.figure import Figure  # not pyplot: nothing to close, nothing shown twice

    # Somebody waits, and to work out a layout costs a third of the drawing: here it is known.
    figure = Figure(figsize=(4.5, 4), layout="none")  # type: ignore[arg-type]
    margins = {"left": 0.17, "right": 0.97, "bottom": 0.13, "top": 0.92, "hspace": 0.35}
    wave, mel = figure.subplots(2, height_ratios=[1, 1.5], gridspec_kw=margins)
    plots.plot_waveform(y, ax=wave)
    wave.set(title="What was heard", xlabel="")
    plots.plot_spectrogram(y, ax=mel, colorbar=False)
    return embed_figure(figure, width=450, alt="Waveform and mel spectrogram")


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


def _describe_error(error: Exception) -> str:
    """What a person can put right in words, our own error with its traceback."""
    expected = isinstance(error, UserError)
    line = str(error) if expected else "An unexpected error"
    details = "" if expected else "".join(traceback.format_exception(error))
    return message_html("⚠ No answer", line, color=_ERROR, details=details)


class Panel(widgets.VBox):
    """Ways to give a sound, below them the answer, and what was answered before; to be displayed.

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
    upload_mb : int
        Largest upload. A JupyterLab without the setting of ``make lab`` drops a message of more
        than 10 MB without a word.
    keep : Path, optional
        Folder for clips that a person keeps with the emotion that was meant; not offered if not
        given.
    """

    def __init__(
        self,
        predictor,
        *,
        samples: pd.DataFrame | None = None,
        record_s: float = 3.0,
        machine: bool = True,
        upload_mb: int = 10,
        keep: Path | None = None,
    ) -> None:
        self.predictor, self.upload_mb, self.keep_in = predictor, upload_mb, keep
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
        self.recorder = Recorder(predictor, self._hear, seconds=record_s, machine=machine)
        # Beside each other where there is room, below each other on a phone.
        self.output = widgets.Output(layout=widgets.Layout(flex="1 1 26em", max_width="44em"))
        self.picture, self.explained = widgets.HTML(), widgets.HTML()
        self.why = widgets.Button(description="Why?", icon="search", disabled=True)
        meanings = [("What did you mean?", ""), *((name, name) for name in predictor.classes)]
        self.meant = widgets.Dropdown(options=meanings, layout=wide)
        self.keep = widgets.Button(description="Keep this clip", icon="save", disabled=True)
        self.kept = widgets.HTML()
        self.history = widgets.VBox()
        self._rows: list[pd.Series] = []
        self._heard, self._explicable = np.zeros(0, "float32"), False
        self.upload.observe(self._upload, names="value")
        self.listen.on_click(self._listen)
        self.meant.observe(lambda _: self._set_disabled(False), names="value")
        self.keep.on_click(self._keep)
        self.why.on_click(self._explain)
        hint = widgets.HTML(f"any format, up to {upload_mb} MB and 10 minutes")
        rows = [self.recorder, widgets.HBox([self.upload, hint], layout=_WRAP)]
        if len(self.samples):
            rows.append(widgets.HBox([self.listen, self.sample], layout=_WRAP))
        notice = widgets.HTML(plots.synthetic_notice(predictor.is_synthetic).data)
        shown = widgets.HBox([self.output, self.picture], layout=_WRAP)
        keeping = widgets.HBox([self.meant, self.keep, self.kept], layout=_WRAP)
        more = [self.why, self.explained, *([keeping] if keep else [])]
        super().__init__([notice, *rows, shown, *more, self.history])

    def warm_up(self) -> None:
        """Do once what takes seconds the first time, so that the first answer is as fast as any."""
        self.predictor.warm_up()
        draw_sound(np.zeros(SAMPLE_RATE, "float32"))

    def answer(
        self,
        hear: Callable[[], np.ndarray],
        *,
        name: str,
        truth: str = "",
        windows: pd.DataFrame | None = None,
        play: bool = False,
    ) -> None:
        """Show what the model makes of the sound that ``hear()`` returns, or why there is none.

        ``windows`` is how the answer changed while the sound was recorded, if anybody asked; with
        ``play``, it is heard at once.
        """
        self._set_disabled(True)
        with self.output:  # whatever is printed on the way is seen as well
            try:
                clear_output(wait=True)
                self.picture.value = self.explained.value = ""
                self._explicable = False
                y = hear()
                row, words, found = analyse(self.predictor, y, name=name, truth=truth)
                windows = found if windows is None else windows
                classes = self.predictor.classes
                color = plots.emotion_colors(classes)[row["emotion"]] if row["sure"] else _NO_ANSWER
                display(HTML(message_html(*words, color=color)))
                # What takes time comes last: the answer is read meanwhile.
                if not row["reason"]:
                    display(HTML(draw_bars(row[classes].astype(float))))
                sound = plots.player(y)
                sound.autoplay = play
                if row["reason"] or len(windows) == 1:
                    display(sound)
                else:
                    display(HTML(embed_timeline(windows, classes, source=sound.src_attr())))
                self._remember(row, words[0], y)
                self._heard, self._explicable, self.kept.value = y, not row["reason"], ""
                if not row["reason"]:
                    self.picture.value = draw_sound(y)
            except Exception as error:  # in a callback nobody would see it
                display(HTML(_describe_error(error)))
            finally:
                self._set_disabled(False)

    def _remember(self, row: pd.Series, answer: str, y: np.ndarray) -> None:
        """Put the answer on top of the history, with a player, and into the CSV."""
        self._rows.append(row)
        table = pd.DataFrame(self._rows).drop(columns="error")
        data = base64.b64encode(table.to_csv(index=False).encode()).decode()
        link = widgets.HTML(render("history.html", csv=data, n=len(table)))
        player = plots.player(y)._repr_html_()
        facts = {"n": len(table), "name": row["file"], "answer": answer, "player": player}
        line = widgets.HTML(render("heard.html", **facts))
        self.history.children = [link, line, *self.history.children[1:_MAX_HISTORY]]

    def _repr_mimebundle_(self, **kwargs) -> dict:
        """The panel, and beside it what a page without a kernel shows in its place."""
        words = "Open this notebook in JupyterLab (make lab) and run it: the panel needs a kernel."
        page = message_html("The panel appears here", words, color=_NO_ANSWER)
        return super()._repr_mimebundle_(**kwargs) | {"text/html": page}

    def _set_disabled(self, disabled: bool) -> None:
        for control in (self.upload, self.listen, self.sample):
            control.disabled = disabled
        self.why.disabled = disabled or not self._explicable
        self.keep.disabled = disabled or not self.meant.value or not len(self._heard)

    def _explain(self, _button: widgets.Button) -> None:
        """Show what in the sound spoke for the emotion and what against."""
        self._set_disabled(True)
        try:
            figure = plot_explanation(explain_clip(self.predictor, self._heard))
            figure.set_size_inches(6, 4)
            alt = "Mel spectrogram: in orange what speaks for the emotion, in blue what against"
            self.explained.value = embed_figure(figure, width=600, alt=alt)
            self._explicable = False  # it is there now
        except Exception as error:  # in a callback nobody would see it
            self.explained.value = _describe_error(error)
        finally:
            self._set_disabled(False)

    def _keep(self, _button: widgets.Button) -> None:
        """Write the clip that was heard last where ``ser corpora`` finds it under its emotion."""
        # The names are the model's: one may hold what leads out of the folder.
        folder = re.sub(r"[^\w -]", "_", self.meant.value)
        path = Path(str(self.keep_in), folder, f"{datetime.now():%Y-%m-%d_%H%M%S_%f}.wav")
        try:
            with atomic_write(path) as temporary:
                soundfile.write(temporary, self._heard, SAMPLE_RATE)
        except OSError as error:  # in a callback nobody would see it
            self.kept.value = f"⚠ not kept: {html.escape(str(error))}"
            return
        self.kept.value = f"kept: {html.escape(str(path))}"
        self.meant.value = ""

    def _upload(self, change: dict) -> None:
        if not change["new"]:
            return
        file = change["new"][0]

        def hear() -> np.ndarray:
            size_mb = file["size"] / 1e6
            if size_mb > self.upload_mb:
                raise UserError(
                    f"{file['name']}: {size_mb:.0f} MB, expected at most {self.upload_mb} MB. "
                    "Choose a shorter part, a format such as MP3, or `ser predict` in a terminal"
                )
            return load_audio(file["content"], name=file["name"], longest_s=LONGEST_S)

        self.answer(hear, name=file["name"])
        self.upload.value = ()  # so that the same file can be chosen again

    def _listen(self, _button: widgets.Button) -> None:
        clip = self.samples.iloc[self.sample.value]
        facts = {"name": Path(clip["path"]).name, "truth": clip["emotion"]}
        self.answer(lambda: load_audio(clip["path"]), play=True, **facts)

    def _hear(self, live: Live) -> None:
        windows = live.timeline if live.rows else None
        self.answer(lambda: live.sound, name="the microphone", windows=windows)


_WRAP = widgets.Layout(flex_flow="row wrap")
