"""Listen through a corpus: filter, play and see.

Building the browser needs no browser: where widgets cannot be drawn, as in a page made from an
executed notebook, the clip that is shown stands there as a picture with its player.
"""

from __future__ import annotations

import html

import ipywidgets as widgets
import pandas as pd
from IPython.display import HTML

from helpers.corpora import class_order
from helpers.errors import UserError
from helpers.features.extract import Analysis, FeatureSettings
from helpers.report import plots
from helpers.report.pages import embed_figure
from helpers.sound.audio import load_audio

_FILTERS = ("corpus", "emotion", "speaker", "intensity", "channel")


def draw_clip(y, *, title: str = "") -> HTML:
    """Waveform at 16 kHz, STFT and mel spectrogram with the pitch contour, and chromagram.

    It can stand between players; the title stands above it.
    """
    from matplotlib.figure import Figure  # not pyplot: nothing to close, nothing shown twice

    figure = Figure(figsize=(10.5, 4.6), layout="constrained")
    axes = figure.subplots(2, 2, sharex=True)
    plots.plot_waveform(y, ax=axes[0, 0])
    for ax, kind in zip(axes.flat[1:], ("stft", "mel", "chroma"), strict=True):
        plots.plot_spectrogram(y, kind=kind, ax=ax, colorbar=False)
    settings = FeatureSettings()
    plots.plot_pitch(Analysis(y, settings).pitch.f0, hop=settings.hop, ax=axes[1, 0])
    for ax in axes[0]:
        ax.set_xlabel("")
    figure.suptitle(title, x=0.01, ha="left", fontsize=11)
    return HTML(embed_figure(figure, width=840, alt=f"{title}: the clip in pictures".strip(": ")))


class ClipBrowser(widgets.VBox):
    """The listening widget, to be displayed.

    Parameters
    ----------
    clips : pd.DataFrame
        Utterance table, at least one row.
    """

    def __init__(self, clips: pd.DataFrame) -> None:
        self.clips = clips
        # A column that is the same all over filters nothing.
        useful = [c for c in _FILTERS if c in clips and clips[c].nunique() > 1]
        self.filters = {column: self._menu(column) for column in useful}
        self.place = widgets.BoundedIntText(
            value=1, min=1, max=len(clips), description="clip", layout=widgets.Layout(width="11em")
        )
        self.back = widgets.Button(icon="step-backward", tooltip="previous clip", layout=_NARROW)
        self.on = widgets.Button(icon="step-forward", tooltip="next clip", layout=_NARROW)
        self.count = widgets.HTML()
        self.look = widgets.HTML()
        self.chosen = clips
        for menu in self.filters.values():
            menu.observe(self._filter, names="value")
        self.place.observe(lambda _: self._show(), names="value")
        self.back.on_click(lambda _: self._step(-1))
        self.on.on_click(lambda _: self._step(1))
        menus = widgets.HBox(list(self.filters.values()), layout=_WRAP)
        steps = widgets.HBox([self.back, self.place, self.on, self.count], layout=_WRAP)
        super().__init__([menus, steps, self.look])
        self._filter()

    def _menu(self, column: str) -> widgets.Dropdown:
        values = self.clips[column]
        order = class_order(values) if column == "emotion" else sorted(values.unique())
        # An empty value is a value: clips of which nobody said how intense they are.
        options = [("all", None)] + [(value or "not said", value) for value in order]
        return widgets.Dropdown(
            options=options, description=column, layout=widgets.Layout(width="17em")
        )

    @property
    def clip(self) -> pd.Series | None:
        """The clip that is shown, None if no clip passes the filters."""
        return None if self.chosen.empty else self.chosen.iloc[self.place.value - 1]

    def _filter(self, _change: dict | None = None) -> None:
        passed = pd.Series(True, index=self.clips.index)
        for column, menu in self.filters.items():
            passed &= menu.value is None or self.clips[column] == menu.value
        self.chosen = self.clips[passed]
        self.count.value = f"of {len(self.chosen)}"
        before = self.place.value
        with self.place.hold_trait_notifications():
            self.place.max = max(1, len(self.chosen))
            self.place.value = 1
        if before == 1:  # no change of place, so nobody has shown the new first clip
            self._show()

    def _step(self, way: int) -> None:
        self.place.value = (self.place.value - 1 + way) % max(1, len(self.chosen)) + 1

    def _show(self) -> None:
        self.back.disabled = self.on.disabled = self.chosen.empty
        self.look.value = self._describe()

    def _describe(self) -> str:
        """HTML to see and hear the clip: words, player, picture; or what is wrong."""
        clip = self.clip
        if clip is None:
            return "<p>No clip is like that. Choose another filter.</p>"
        facts = [str(clip[c]) for c in ("emotion", "intensity", "speaker", "text") if clip.get(c)]
        title = html.escape(" · ".join(facts))
        name = f'<p style="margin:.3em 0">{title}<br><small>{html.escape(clip["path"])}</small></p>'
        try:
            y = load_audio(clip["path"])
        except UserError as error:
            return f"{name}<p>⚠ {html.escape(str(error))}</p>"
        return f"{name}{plots.player(y)._repr_html_()}{draw_clip(y).data}"

    def _repr_mimebundle_(self, **kwargs):
        """The widget, and beside it a page without a kernel can show: the first clip."""
        return super()._repr_mimebundle_(**kwargs) | {"text/html": self.look.value}


_NARROW = widgets.Layout(width="3em")
_WRAP = widgets.Layout(flex_flow="row wrap")
