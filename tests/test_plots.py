"""Every figure draws, says its units, keeps its colours, and leaves nothing open behind."""

from __future__ import annotations

import inspect
import io
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
import soundfile
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from helpers.corpora.table import EMOTIONS
from helpers.report import plots
from helpers.report.plots import (
    EMOTION_COLORS,
    SYNTHETIC_NOTICE,
    emotion_colors,
    player,
    save_figure,
)
from helpers.runs import Run

# Emotion names may be one's own, in any script.
CLASSES = ["neutral", "angry", "Überraschung", "喜び"]


# A font for every script is not on every machine; the figure is drawn all the same.
pytestmark = pytest.mark.filterwarnings("ignore:Glyph .* missing from font")


@pytest.fixture(autouse=True)
def style():
    """The notebooks' look, without a window, and matplotlib as it was afterwards."""
    import matplotlib.pyplot as plt

    with mpl.rc_context(), pytest.MonkeyPatch.context() as patch:
        patch.setenv("MPLBACKEND", "Agg")
        plt.switch_backend("Agg")
        plots.use_style()
        yield
        plt.close("all")


@pytest.fixture(scope="module")
def tone() -> np.ndarray:
    time = np.arange(16_000) / 16_000
    return (0.1 * np.sin(2 * np.pi * 440 * time)).astype("float32")


def make_axes():
    figure = Figure(figsize=(9, 3.2), layout="constrained")
    FigureCanvasAgg(figure)
    return figure.add_subplot()


@pytest.mark.parametrize("text", ["$5 and $6", "${5 and $6}", "$\\frac$", "a_b^c", "{$x$}"])
def test_dollar_signs_are_no_mathematics(text):
    ax = make_axes()
    ax.set_title(text)
    ax.set_xticks([0], [text])
    ax.figure.canvas.draw()  # mathematics that is none raises here
    assert ax.title.get_parse_math() is False
    assert ax.get_xticklabels()[0].get_text() == text


def make_clips() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "emotion": ["neutral", "neutral", "angry", "喜び"],
            "corpus": ["a", "b", "a", "b"],
            "speaker": ["a-1", "b-1", "a-1", "b-2"],
            "duration_s": [1.0, 2.0, float("nan"), 4.0],
        }
    )


def make_scores() -> dict[str, dict]:
    return {
        "cnn, speaker-independent": {"uar": 0.6, "uar_interval": [0.5, 0.7], "chance": 0.25},
        "lstm, speaker-independent": {"uar": 0.4, "uar_interval": [0.3, 0.5], "chance": 0.25},
    }


HISTORY = pd.DataFrame(
    {
        "epoch": [1, 2, 3],
        "accuracy": [0.3, 0.6, 0.9],
        "val_accuracy": [0.2, 0.5, 0.4],
        "kept": [False, True, False],
    }
)
PROBABILITIES = pd.Series([0.1, 0.6, 0.25, 0.05], index=CLASSES)
COUNTS = np.array([[3, 1, 0, 0], [0, 4, 0, 0], [0, 0, 0, 0], [1, 1, 1, 1]])

#: A call of each public plot.
CASES = {
    "plot_waveform": lambda y, **o: plots.plot_waveform(y, **o),
    "plot_spectrogram": lambda y, **o: plots.plot_spectrogram(y, **o),
    "plot_cells": lambda y, **o: plots.plot_cells(make_clips(), classes=CLASSES, **o),
    "plot_spread": lambda y, **o: plots.plot_spread(
        make_clips(), "duration_s", by="corpus", order=["a", "b"], label="duration (s)", **o
    ),
    "plot_pitch": lambda y, **o: plots.plot_pitch(np.array([200, np.nan, 210.0]), hop=320, **o),
    "plot_history": lambda y, **o: plots.plot_history(HISTORY, chance=0.25, **o),
    "plot_confusion": lambda y, **o: plots.plot_confusion(COUNTS, CLASSES, **o),
    "plot_probabilities": lambda y, **o: plots.plot_probabilities(PROBABILITIES, **o),
    "plot_intervals": lambda y, **o: plots.plot_intervals(
        PROBABILITIES.rename("UAR"), PROBABILITIES - 0.05, PROBABILITIES + 0.1, **o
    ),
    "plot_scores": lambda y, **o: plots.plot_scores(make_scores(), **o),
}


def test_every_plot_has_a_case():
    public = {n for n, f in inspect.getmembers(plots, inspect.isfunction) if n.startswith("plot_")}
    assert public == set(CASES)


@pytest.mark.parametrize("name", CASES)
def test_plot_draws_on_the_axes_it_is_given(name, tone):
    import matplotlib.pyplot as plt

    parameter = inspect.signature(getattr(plots, name)).parameters["ax"]
    assert parameter.kind is parameter.KEYWORD_ONLY and parameter.default is None
    ax = make_axes()
    assert CASES[name](tone, ax=ax) is ax
    ax.figure.canvas.draw()
    assert ax.has_data()
    assert ax.get_xlabel() or name == "plot_spread"  # their ticks are names
    assert plt.get_fignums() == []  # nothing opened, shown or left behind
    ax = CASES[name](tone)
    assert plt.get_fignums() == [ax.figure.number]
    ax.figure.canvas.draw()


def test_cells_that_nobody_recorded_are_counted():
    ax = plots.plot_cells(make_clips(), classes=CLASSES, ax=make_axes())
    assert ax.get_title(loc="left") == "8 of 12 cells are empty"
    many = pd.DataFrame({"speaker": [f"s{n:02d}" for n in range(90)], "emotion": "angry"})
    ax = plots.plot_cells(many, classes=["angry"], ax=make_axes())
    assert ax.get_title(loc="left") == "No cell is empty" and not ax.texts


@pytest.mark.parametrize(
    ("kind", "label", "unit"),
    [
        ("mel", "mel frequency (Hz)", "dB, loudest is 0"),
        ("stft", "frequency (Hz)", "dB, loudest is 0"),
        ("chroma", "pitch class", "relative energy"),
    ],
)
def test_spectrogram_says_what_it_shows(kind, label, unit, tone):
    ax = plots.plot_spectrogram(tone, kind=kind, ax=make_axes())
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("time (s)", label)
    assert [other.get_ylabel() for other in ax.figure.axes if other is not ax] == [unit]
    plain = plots.plot_spectrogram(tone, kind=kind, ax=make_axes(), colorbar=False)
    assert len(plain.figure.axes) == 1


def test_spectrogram_shows_the_tone_at_its_place_and_level(tone):
    (mesh,) = plots.plot_spectrogram(tone, kind="stft", ax=make_axes(), colorbar=False).collections
    image = np.asarray(mesh.get_array()).reshape(513, -1)
    assert image.max() == 0 and image.min() == -80
    assert np.median(image.argmax(axis=0)) * 16_000 / 1024 == pytest.approx(440, abs=16)


@pytest.mark.parametrize("n_epochs", [1, 2, 3])
def test_history_draws_accuracy_and_marks_the_kept_epoch(n_epochs):
    history = HISTORY[-n_epochs:].assign(kept=[True] + [False] * (n_epochs - 1))
    ax = plots.plot_history(history, chance=0.25, ax=make_axes(), title="It learns")
    ax.figure.canvas.draw()
    assert ax.get_ylabel() == "accuracy" and ax.get_title(loc="left") == "It learns"
    validation = next(line for line in ax.lines if line.get_label() == "validation")
    np.testing.assert_array_equal(validation.get_ydata(), history["val_accuracy"])
    legend = ax.get_legend()
    assert f"kept: epoch {4 - n_epochs}" in [text.get_text() for text in legend.get_texts()]
    # It stands beside the lines, however few the epochs are.
    assert not legend.get_window_extent().overlaps(ax.get_window_extent())


def test_confusion_writes_counts_and_shades_shares():
    ax = plots.plot_confusion(COUNTS, CLASSES, ax=make_axes())
    assert [int(text.get_text()) for text in ax.texts] == COUNTS.ravel().tolist()
    shares = np.asarray(ax.collections[0].get_array()).reshape(4, 4)
    assert shares[0].tolist() == [0.75, 0.25, 0, 0]
    assert shares[2].tolist() == [0, 0, 0, 0]  # an emotion without clips divides by nothing


def test_probabilities_are_written_out_best_in_full_colour():
    ax = plots.plot_probabilities(PROBABILITIES, ax=make_axes())
    assert [text.get_text() for text in ax.texts] == ["10%", "60%", "25%", "5%"]
    assert [bar.get_alpha() == 1 for bar in ax.patches] == [False, True, False, False]
    assert ax.yaxis_inverted()  # the usual order reads from top to bottom


# --- colours ---------------------------------------------------------------------------------


def test_every_emotion_has_its_own_colour():
    assert set(EMOTION_COLORS) == set(EMOTIONS)
    assert len(set(EMOTION_COLORS.values())) == len(EMOTIONS)


def test_colours_do_not_depend_on_the_order_or_on_who_else_is_there():
    own = ["Ärger", "喜び", "غضب", "डर", "zorn", "bored?", "x"]
    colors = emotion_colors([*EMOTIONS, *own])
    assert list(colors) == [*EMOTIONS, *own]
    assert len(set(colors.values())) == len(colors)
    assert emotion_colors([*own[::-1], *EMOTIONS[::-1]]) == colors
    assert emotion_colors(["sad", "fear"]) == {key: EMOTION_COLORS[key] for key in ("sad", "fear")}
    assert all(mpl.colors.is_color_like(color) for color in colors.values())
    assert len(emotion_colors([str(i) for i in range(30)])) == 30  # more names than colours


# --- players ---------------------------------------------------------------------------------


@pytest.mark.parametrize("gain", [0.03, 1.0, 20.0])
def test_player_keeps_the_level_and_clips_overshoot(gain, tone):
    audio = player(gain * tone)
    heard, rate = soundfile.read(io.BytesIO(audio.data), dtype="float32")
    assert rate == 16_000
    np.testing.assert_allclose(heard, np.clip(gain * tone, -1, 1), atol=1.1 / 2**15)
    assert 'src="data:audio/flac;base64,' in audio._repr_html_() and len(audio.data) < 2 * len(tone)


# --- what is synthetic says so ---------------------------------------------------------------


@pytest.mark.parametrize("synthetic", [True, False])
def test_saved_figures_of_synthetic_voices_are_stamped(synthetic, tone, tmp_path: Path):
    run = Run(tmp_path / "try")
    run.save_json({"synthetic": synthetic}, "data.json")
    ax = plots.plot_waveform(tone, ax=make_axes())
    save_figure(run, ax, "waveform")
    assert [text.get_text() for text in ax.figure.texts] == [SYNTHETIC_NOTICE] * synthetic
    image = mpl.image.imread(tmp_path / "try" / "figures" / "waveform.png")
    red = (image[..., 0] > 0.6) & (image[..., 1] < 0.2) & (image[..., 2] < 0.3)
    assert bool(red.any()) is synthetic  # the stamp lies within the picture
    assert plots.is_synthetic(run) is synthetic


def test_banner_only_for_synthetic_voices():
    assert SYNTHETIC_NOTICE in plots.synthetic_notice(True).data
    assert plots.synthetic_notice(False).data == ""
