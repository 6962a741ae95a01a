"""One look for every figure: the same emotion order and colours everywhere.

Functions take ``ax=None``, for axes of a new figure, and return the axes; some take a ``title``.
Nothing is shown or saved unless asked for.
"""

from __future__ import annotations

import io
import logging

import numpy as np
import pandas as pd

from helpers.report.pages import SYNTHETIC_NOTICE, render
from helpers.runs import Run, atomic_write
from helpers.sound.audio import SAMPLE_RATE

#: Colour-blind safe (after Okabe & Ito 2008 and Paul Tol's muted scheme), as dark as text needs.
EMOTION_COLORS = {
    "neutral": "#767676",
    "calm": "#56B4E9",
    "happy": "#E69F00",
    "sad": "#0072B2",
    "angry": "#C8321E",
    "fear": "#7B4EA3",
    "disgust": "#00825F",
    "surprise": "#D56FA6",
    "boredom": "#8C6A3F",
}
_SPARE_COLORS = ("#332288", "#88CCEE", "#999933", "#882255", "#44AA99", "#DDCC77", "#117733")
#: Sans serifs of Linux, macOS and Windows, tried in turn for letters that the first one lacks.
_FONTS = """
DejaVu Sans; Noto Sans CJK JP; Noto Sans CJK SC; Noto Sans JP; Noto Sans SC; Source Han Sans;
IPAexGothic; IPAGothic; TakaoGothic; VL Gothic; WenQuanYi Zen Hei; WenQuanYi Micro Hei;
Droid Sans Fallback; Hiragino Sans; PingFang SC; Apple SD Gothic Neo; Yu Gothic; Meiryo; MS Gothic;
Microsoft YaHei; SimHei; Malgun Gothic; Noto Sans Arabic; Noto Sans Devanagari; Noto Sans Hebrew;
Noto Sans Thai; Arial Unicode MS; Arial
"""
_HZ = (0, 500, 1000, 2000, 4000, 8000)
#: Axis of each kind of spectrogram: librosa's name, what it says, what its colours say, its ends.
_AXES = {
    "mel": ("mel", "mel frequency (Hz)", "dB, loudest is 0", {"ylim": (0, 8000), "yticks": _HZ}),
    "stft": ("linear", "frequency (Hz)", "dB, loudest is 0", {}),
    "chroma": ("chroma", "pitch class", "relative energy", {}),
}


def use_style() -> None:
    """Set matplotlib's defaults for the notebooks; call it once at the top."""
    import matplotlib as mpl

    # A font that is not there, or has one weight only, is nothing to speak of.
    logging.getLogger("matplotlib.font_manager").setLevel(logging.ERROR)
    pd.options.display.max_colwidth = 120  # titles and licences whole
    mpl.rcParams.update(
        {
            "figure.figsize": (9, 3.2),
            "figure.dpi": 110,
            "figure.constrained_layout.use": True,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.titlelocation": "left",
            "axes.titlesize": 11,
            "axes.titleweight": "bold",
            "legend.frameon": False,
            "image.cmap": "magma",
            "font.size": 9.5,
            # Emotion names may be in any script; matplotlib falls back from font to font.
            "font.family": [name.strip() for name in _FONTS.split(";")],
            # A label or text may hold dollar signs, which are no mathematics.
            "text.parse_math": False,
        }
    )


def emotion_colors(emotions: list[str]) -> dict[str, str]:
    """Colour of each emotion; names of your own get the spare colours in alphabetical order."""
    own = sorted({name for name in emotions if name not in EMOTION_COLORS})
    spare = {name: _SPARE_COLORS[i % len(_SPARE_COLORS)] for i, name in enumerate(own)}
    return {name: EMOTION_COLORS.get(name) or spare[name] for name in emotions}


def new_axes(ax, **size):
    """``ax`` itself, or those of a new figure."""
    import matplotlib.pyplot as plt

    return ax or plt.subplots(**size)[1]


def draw_heatmap(values, **look):
    """A heatmap from white at 0 to blue, with readable tick labels; options are seaborn's."""
    import seaborn

    ax = seaborn.heatmap(values, cmap="Blues", vmin=0, **look)
    ax.tick_params(axis="x", rotation=45)
    ax.tick_params(axis="y", rotation=0)
    return ax


def player(y: np.ndarray):
    """An ``IPython.display.Audio`` of a waveform at 16 kHz, at the recording's own level.

    Left to itself, ``Audio`` scales an array to full level: a whisper plays as loud as a shout.
    FLAC keeps the executed notebook small without changing a sample.
    """
    import soundfile
    from IPython.display import Audio

    buffer = io.BytesIO()
    soundfile.write(buffer, np.clip(y, -1, 1), SAMPLE_RATE, format="FLAC", subtype="PCM_16")
    audio = Audio(data=buffer.getvalue())
    audio.mimetype = "audio/flac"  # IPython calls all bytes audio/wav, and not every browser sniffs
    return audio


def show_source(*functions):
    """The source of functions as Markdown, which every theme colours."""
    from inspect import getsource

    from IPython.display import Markdown

    return Markdown("```python\n" + "\n\n".join(map(getsource, functions)) + "```")


def save_figure(run: Run, figure, name: str) -> None:
    """Write a figure, or that of some axes, into the run folder, and show that file.

    It is stamped if its data are synthetic. Its titles are kept in the file, for those who cannot
    see it. ``name`` is that of the file under ``figures/``, without suffix.
    """
    import matplotlib.pyplot as plt
    from IPython.display import Image, display

    figure = getattr(figure, "figure", figure)
    if is_synthetic(run):
        figure.text(1, -0.01, SYNTHETIC_NOTICE, ha="right", va="top", color="#B00020", fontsize=8.5)
    titles = [figure.get_suptitle(), *(ax.get_title(loc="left") for ax in figure.axes)]
    said = {"Description": "; ".join(" ".join(title.split()) for title in titles if title)}
    path = run.path(f"figures/{name}.png")
    with atomic_write(path) as temporary:
        figure.savefig(temporary, dpi=110, bbox_inches="tight", metadata=said)
    plt.close(figure)  # or Jupyter would draw it a second time, which takes as long as the first
    display(Image(path))


def is_synthetic(run: Run) -> bool:
    """True if the run's corpora include the synthetic demo voices."""
    return bool(run.read_json("data.json", made_by="01_explore")["synthetic"])


def synthetic_notice(synthetic: bool):
    """A banner for the top of a notebook, empty for real recordings."""
    from IPython.display import HTML

    return HTML(render("notice.html", notice=SYNTHETIC_NOTICE) if synthetic else "")


def plot_waveform(y: np.ndarray, *, ax=None):
    """Amplitude of a waveform at 16 kHz against time."""
    ax = new_axes(ax, figsize=(9, 2))
    ax.plot(np.arange(len(y)) / SAMPLE_RATE, y, linewidth=0.5, color="#444444")
    ax.set(xlabel="time (s)", ylabel="amplitude", xlim=(0, len(y) / SAMPLE_RATE))
    return ax


def plot_spectrogram(y: np.ndarray, *, kind: str = "mel", ax=None, colorbar: bool = True):
    """Spectrogram or chromagram of a waveform.

    Parameters
    ----------
    y : np.ndarray, shape (n,)
        16 kHz.
    kind : {"mel", "stft", "chroma"}
        Mel or linear frequency in dB below the loudest bin, or energy of each pitch class.
    colorbar : bool
    """
    import librosa
    import librosa.display

    ax = new_axes(ax, figsize=(9, 2.6))
    image = np.abs(librosa.stft(y, n_fft=1024, hop_length=256)) ** 2
    axis, label, unit, ends = _AXES[kind]
    if kind == "chroma":
        loudness = image.sum(axis=0)
        image = librosa.feature.chroma_stft(S=image, sr=SAMPLE_RATE, tuning=0)
        # Each frame is scaled to its own strongest class: in a pause that would be noise.
        image[:, loudness < 1e-3 * loudness.max()] = 0
    else:
        if kind == "mel":
            image = librosa.feature.melspectrogram(S=image, sr=SAMPLE_RATE, n_mels=64)
        image = librosa.power_to_db(image, ref=np.max, top_db=80)
    drawn = librosa.display.specshow(
        image, sr=SAMPLE_RATE, hop_length=256, x_axis="s", y_axis=axis, ax=ax, cmap="magma"
    )
    ax.set(xlabel="time (s)", ylabel=label, **ends)
    if colorbar:
        ax.figure.colorbar(drawn, ax=ax, label=unit, pad=0.01)
    return ax


def plot_cells(clips: pd.DataFrame, *, classes: list[str], ax=None):
    """Clips of each speaker and emotion; the title says how many cells are empty."""
    cells = pd.crosstab(clips["speaker"], clips["emotion"]).reindex(columns=classes, fill_value=0)
    few = len(cells) <= 40  # or neither the numbers nor the names can be read
    height = 1.2 + 0.21 * len(cells) if few else 8.7
    ax = new_axes(ax, figsize=(1.8 + 0.7 * len(classes), height))
    draw_heatmap(
        cells, mask=cells == 0, annot=few, fmt="d", ax=ax, cbar_kws={"label": "clips"},
        yticklabels=1 if few else len(cells) // 20, linewidths=0.5 if few else 0,
        annot_kws={"fontsize": 7},
    )  # fmt: skip
    ax.set_facecolor("#F2C9C5")  # what nobody recorded
    empty = int((cells == 0).sum().sum())
    found = f"{empty} of {cells.size} cells are empty" if empty else "No cell is empty"
    ax.set(xlabel="emotion", ylabel="speaker", title=found)
    ax.tick_params(axis="y", labelsize=7)
    return ax


def plot_spread(
    clips: pd.DataFrame, column: str, *, by: str, order: list[str], label: str, ax=None
):
    """Quartiles and range of the measure ``column``, one box per value of ``by``.

    The boxes stand in this ``order``, emotions in their own colours. ``label`` names the axis, with
    the unit.
    """
    import seaborn

    ax = new_axes(ax, figsize=(5, 3.2))
    colors = emotion_colors(order) if by == "emotion" else dict.fromkeys(order, "#7FA7C9")
    look = {"hue": by, "palette": colors, "legend": False, "showfliers": False}
    seaborn.boxplot(clips, x=by, y=column, order=order, ax=ax, **look)
    ax.tick_params(axis="x", rotation=45)
    ax.set(xlabel="", ylabel=label)
    return ax


def plot_history(history: pd.DataFrame, *, chance: float, ax=None, title: str = ""):
    """Training and validation accuracy over epochs, the epoch that was kept, and guessing.

    The history is that of :func:`helpers.models.training.fit_model`.
    """
    ax = new_axes(ax, figsize=(9, 3))
    ax.plot(history["epoch"], history["accuracy"], color="#999999", label="training")
    ax.plot(history["epoch"], history["val_accuracy"], color="#0072B2", label="validation")
    kept = int(history.loc[history["kept"], "epoch"].iloc[0])
    ax.axvline(kept, color="#0072B2", linestyle=":", label=f"kept: epoch {kept}")
    ax.axhline(chance, color="#767676", linestyle="--", linewidth=1, label="guessing")
    ax.set(xlabel="epoch", ylabel="accuracy", ylim=(0, 1.02), title=title)
    ax.xaxis.get_major_locator().set_params(integer=True)
    ax.legend(loc="upper left", bbox_to_anchor=(1, 1))  # beside the lines, wherever they go
    return ax


def plot_confusion(counts: np.ndarray, classes: list[str], *, ax=None, title: str = ""):
    """Confusion matrix: share of each true emotion, with the counts written in."""
    ax = new_axes(ax, figsize=(1.6 + 0.62 * len(classes), 1.2 + 0.5 * len(classes)))
    share = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    draw_heatmap(
        share, annot=counts, fmt="d", vmax=1, ax=ax, square=True, linewidths=0.5,
        xticklabels=classes, yticklabels=classes, cbar_kws={"label": "share of the true emotion"},
    )  # fmt: skip
    ax.set(xlabel="predicted emotion", ylabel="true emotion", title=title)
    return ax


def plot_probabilities(probabilities: pd.Series, *, ax=None, title: str = ""):
    """One bar per emotion, in the usual order, the likeliest in full colour."""
    ax = new_axes(ax, figsize=(6, 0.6 + 0.32 * len(probabilities)))
    colors, best = emotion_colors(list(probabilities.index)), probabilities.idxmax()
    bars = ax.barh(probabilities.index, probabilities, color=list(colors.values()))
    for bar, name in zip(bars, probabilities.index, strict=True):
        bar.set_alpha(1 if name == best else 0.55)
    ax.bar_label(bars, [f"{p:.0%}" for p in probabilities], padding=3)
    ax.invert_yaxis()
    ax.set(xlim=(0, 1.1), xlabel="probability", title=title)
    return ax


def plot_intervals(
    values: pd.Series, low: pd.Series, high: pd.Series, *, chance=None, ax=None, title: str = ""
):
    """Values of 0 to 1 with their 95 % intervals, one row each from top to bottom.

    The index names the rows, that of the axis is the name of ``values``; ``chance`` is a line.
    """
    places = np.arange(len(values))
    ax = new_axes(ax, figsize=(9, 0.9 + 0.36 * len(values)))
    ax.hlines(places, low, high, color="#0072B2", linewidth=5, alpha=0.35)
    ax.plot(values, places, "o", color="#0072B2", markersize=8, clip_on=False)
    for value, place in zip(values, places, strict=True):
        ax.annotate(f"{value:.2f}", (value, place), (0, 6), textcoords="offset points", ha="center")
    if chance is not None:
        ax.axvline(chance, color="#999999", linestyle=":", linewidth=1)
        ax.text(chance, len(values) - 0.45, " guessing", color="#767676", va="bottom", fontsize=8)
    ax.set_yticks(places, values.index)
    ax.set(xlim=(0, 1), ylim=(len(values) - 0.4, -0.8), title=title)
    ax.set_xlabel(f"{values.name}, with its 95 % interval")
    return ax


def plot_scores(scores: dict[str, dict], *, measure: str = "uar", ax=None, title: str = ""):
    """Models side by side: the measure (uar, accuracy or macro_f1) with its interval, and chance.

    The scores are label → result of :func:`helpers.evaluation.scores.score_predictions`.
    """
    table = pd.DataFrame(scores).T
    values = table[measure].astype(float).rename("UAR" if measure == "uar" else measure)
    ends = table[f"{measure}_interval"].str
    look = {"chance": table["chance"].iloc[0], "ax": ax, "title": title}
    return plot_intervals(values, ends[0], ends[1], **look)


def plot_pitch(f0: np.ndarray, *, hop: int, ax=None):
    """Pitch contour in Hz, such as over a mel spectrogram, with gaps where it is NaN (unvoiced).

    ``hop`` is the number of samples from frame to frame, at 16 kHz.
    """
    ax = new_axes(ax, figsize=(9, 2))
    time_s = np.arange(len(f0)) * hop / SAMPLE_RATE
    # Two lines: white on black is seen on any spectrogram.
    for width, color in ((3.2, "black"), (1.6, "white")):
        ax.plot(time_s, f0, color=color, linewidth=width, solid_capstyle="round")
    ax.set_xlabel("time (s)")
    return ax
