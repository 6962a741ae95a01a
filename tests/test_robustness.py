"""Each disturbance does what it says, by measurement; the table is right, by hand."""

from __future__ import annotations

import pickle
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile
from tiny import CLASSES, SETTINGS, build_tiny_model, tone, write_tone

from helpers.evaluation.robustness import measure_robustness, to_checks
from helpers.models.modelfile import make_card, save_model
from helpers.models.prediction import Predictor
from helpers.report.figures import plot_robustness
from helpers.sound.audio import SAMPLE_RATE
from helpers.sound.disturbances import (
    CONDITIONS,
    Condition,
    clip_loudest,
    disturb,
    filter_band,
    keep_first,
    leave,
    make_music,
    tilt_spectrum,
)

BY_NAME = {condition.name: condition for condition in CONDITIONS}
VOICES = [np.random.default_rng(seed).normal(0, 0.2, 9000).astype("float32") for seed in range(5)]


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


@pytest.fixture(scope="module")
def white() -> np.ndarray:
    """Noise for 2.5 s: something in each band. Read-only: writing into it would be an error."""
    y = np.random.default_rng(7).normal(0, 0.1, 5 * SAMPLE_RATE // 2).astype("float32")
    y.flags.writeable = False
    return y


def level_db(y: np.ndarray) -> float:
    return float(10 * np.log10(np.mean(np.square(y, dtype="float64"))))


def gain_db(before: np.ndarray, after: np.ndarray, hz: float) -> float:
    """How much louder a band of a fifth of an octave around ``hz`` has become."""
    n = min(len(before), len(after))
    frequency = np.fft.rfftfreq(n, 1 / SAMPLE_RATE)
    band = np.abs(np.log2(np.maximum(frequency, 1) / hz)) < 0.1
    window = np.hanning(n)  # or the cut edges of a strong band would be heard in a weak one
    powers = [np.sum(np.abs(np.fft.rfft(window * y[:n])[band]) ** 2) for y in (before, after)]
    return float(10 * np.log10(powers[1] / powers[0]))


# ---------------------------------------------------------------------------- the list


def test_limits_are_those_of_the_suite():
    limits = {c.name: (c.max_drop, c.min_same) for c in CONDITIONS if c.min_same is not None}
    assert len(limits) == 20
    assert limits["music 20 dB"] == limits["white noise 20 dB"] == (0.05, 0.9)
    assert limits["telephone"] == (0.05, 0.5)
    assert limits["medium room, 2 m instead of 1 m"] == limits["small room"] == (None, 0.8)
    assert limits["3 dB/octave darker"] == (0.02, 0.8)
    assert limits["500 zeros before"] == limits["gain -2 dB"] == (None, 0.95)
    assert not [c.name for c in CONDITIONS if c.max_drop is not None and c.min_same is None]


def test_conditions_have_names_of_their_own_and_cross_processes(white):
    assert len(BY_NAME) == len(CONDITIONS) >= 45
    first, again = CONDITIONS[0], pickle.loads(pickle.dumps(CONDITIONS))[0]
    found = [disturb((white, "a.wav", VOICES, condition, 0)) for condition in (first, again)]
    np.testing.assert_array_equal(*found)


@pytest.mark.parametrize("condition", CONDITIONS, ids=lambda condition: condition.name)
def test_each_condition_repeats_itself_and_leaves_its_input(condition, white):
    original = white.copy()
    first, again = (disturb((white, "a.wav", VOICES, condition, 3)) for _ in range(2))
    assert not isinstance(first, str), first
    np.testing.assert_array_equal(first, again)
    np.testing.assert_array_equal(white, original)
    assert first.dtype == "float32" and first.ndim == 1 and np.isfinite(first).all()
    assert not np.array_equal(first, white)
    if condition.group in ("room", "position", "tilt"):
        assert level_db(first) == pytest.approx(level_db(white), abs=0.01)


@pytest.mark.parametrize(
    "name", [c.name for c in CONDITIONS if c.group in ("white noise", "babble", "music")]
)
def test_noise_has_its_ratio(name, white):
    condition = BY_NAME[name]
    noise = disturb((white, "a.wav", VOICES, condition, 0)) - white
    assert level_db(white) - level_db(noise) == pytest.approx(condition.level, abs=0.5)


def test_what_is_drawn_hangs_on_seed_clip_and_group(white):
    def noise(name="white noise 10 dB", clip="a.wav", seed=0):
        return disturb((white, clip, VOICES, BY_NAME[name], seed)) - white

    ten = noise()
    # Along a curve only the level differs: the same noise, 20 dB softer.
    np.testing.assert_allclose(noise("white noise 30 dB"), ten / 10, atol=1e-6)
    for other in (noise(clip="b.wav"), noise(seed=1), noise("music 10 dB")):
        assert abs(np.corrcoef(ten, other)[0, 1]) < 0.1


def test_the_two_places_in_the_room_are_6_db_apart():
    near, far = BY_NAME["medium room"], BY_NAME["medium room, 2 m instead of 1 m"]
    assert far.compared_with == near.name
    near_db, far_db = (c.change.keywords["drr_db"] for c in (near, far))
    assert near_db == pytest.approx(20 * np.log10(0.057 * np.sqrt(2 * 100 / 0.5)))
    assert near_db - far_db == pytest.approx(6.02, abs=0.01)


# ---------------------------------------------------------------------------- the changes


def test_music_has_notes_and_a_beat(rng):
    music = make_music(8 * SAMPLE_RATE, rng)
    power = np.abs(np.fft.rfft(music)) ** 2
    frequency = np.fft.rfftfreq(len(music), 1 / SAMPLE_RATE)
    # Few frequencies hold nearly all of it; of white noise they would hold 2 %.
    notes = np.sort(power)[::-1]
    assert notes[: len(notes) // 50].sum() > 0.9 * power.sum()
    # Hits of high noise, at the same distance again and again: from 80 to 140 a minute, halved.
    high = np.fft.irfft(np.fft.rfft(music) * (frequency > 5000))
    envelope = np.abs(high).reshape(-1, 160).sum(axis=1)
    envelope -= envelope.mean()
    likeness = np.correlate(envelope, envelope, "full")[len(envelope) - 1 :]
    lag = 15 + int(likeness[15:41].argmax())  # 10 ms each
    assert 21 <= lag <= 38
    assert likeness[lag] > 0.5 * likeness[0] and likeness[lag // 2] < 0.2 * likeness[0]


@pytest.mark.parametrize("share", [0.002, 0.05, 0.2])
def test_clipping_holds_the_loudest_share(share, white, rng):
    clipped = clip_loudest(white, rng, share=share)
    held = np.abs(clipped) >= np.abs(clipped).max() * (1 - 1e-6)
    assert held.mean() == pytest.approx(share, rel=0.02)
    np.testing.assert_array_equal(clipped[~held], white[~held])
    assert (np.sign(clipped) == np.sign(white)).all()


@pytest.mark.parametrize(
    ("kind", "hz", "gains"),
    [
        ("highpass", 100.0, {50: -7.0, 100: -3.0, 200: -1.0, 2000: 0.0}),
        ("lowpass", 7000.0, {1000: 0.0, 3500: -0.1, 7000: -3.0}),
    ],
)
def test_filters_take_away_their_band(kind, hz, gains, white, rng):
    filtered = filter_band(white, rng, kind=kind, hz=hz)
    assert len(filtered) == len(white)
    for band, expected in gains.items():
        assert gain_db(white, filtered, band) == pytest.approx(expected, abs=0.4), band


@pytest.mark.parametrize("slope", [-3.0, 3.0, 6.0])
def test_tilt_has_its_slope_and_keeps_the_level(slope, white, rng):
    tilted = tilt_spectrum(white, rng, db_per_octave=slope)
    bands = 150 * 2.0 ** np.arange(6)
    gains = [gain_db(white, tilted, hz) for hz in bands]
    assert np.polyfit(np.log2(bands), gains, 1)[0] == pytest.approx(slope, abs=0.1)
    # Flat below 100 Hz.
    assert gain_db(white, tilted, 40) - gain_db(white, tilted, 80) == pytest.approx(0, abs=0.1)
    assert level_db(tilted) == pytest.approx(level_db(white), abs=0.01)


@pytest.mark.parametrize("silence_s", [0.0, 1.0])
def test_listening_stops_after_the_onset_of_the_voice(silence_s, rng):
    silence = rng.normal(0, 1e-4, round(silence_s * SAMPLE_RATE)).astype("float32")
    y = np.concatenate([silence, tone(duration_s=2.0)])
    heard = keep_first(y, rng, duration_s=0.5)
    before = min(len(silence), 800)
    assert len(heard) == pytest.approx(before + 8000, abs=320)
    start = len(silence) - before
    np.testing.assert_array_equal(heard, y[start : start + len(heard)])


@pytest.mark.parametrize("condition", CONDITIONS, ids=lambda condition: condition.name)
def test_short_and_silent_clips_are_no_trouble(condition):
    for y in (np.zeros(8000, "float32"), tone(duration_s=0.1)):
        changed = disturb((y, "a.wav", VOICES, condition, 0))
        assert not isinstance(changed, str), changed
        assert np.isfinite(changed).all() and len(changed) > 1000


# ---------------------------------------------------------------------------- the table


class Ear:
    """Says how loud a clip is: below 0.2, up to 0.4, above. Its answers are known by hand."""

    classes = CLASSES  # sad, neutral, angry

    def predict_waves(self, waves: list[np.ndarray]) -> pd.DataFrame:
        steps = [int(np.searchsorted([0.2, 0.4], np.abs(wave).max())) for wave in waves]
        return pd.DataFrame({"emotion": [CLASSES[step] for step in steps]})


def write_peaks(folder: Path, peaks: list[float], emotions: list[str]) -> pd.DataFrame:
    """Clips of a known peak, by two speakers in turn."""
    rows = []
    for place, (peak, emotion) in enumerate(zip(peaks, emotions, strict=True)):
        path = folder / f"{place:02d}.wav"
        wave = peak * np.sin(np.arange(3200) * 0.1)
        soundfile.write(path, wave, SAMPLE_RATE, subtype="FLOAT")
        rows.append((str(path), emotion, f"own-{place % 2}"))
    return pd.DataFrame(rows, columns=["path", "emotion", "speaker"])


def amplify(y, rng, *, factor: float = 10.0, below: float = np.inf):
    return y * np.float32(factor) if np.abs(y).max() < below else y


def refuse_loud(y, rng):
    if np.abs(y).max() > 0.5:
        raise RuntimeError("too loud")
    return y


def refuse(y, rng):
    raise OSError("no encoder")


LOUD = Condition("loud", "all loud", partial(amplify, factor=10.0), max_drop=0.5, min_same=0.5)
COLUMNS = ["group", "condition", "level", "n", "uar", "drop", "allowed_drop"]
COLUMNS += ["same", "needed_same", "passed", "note"]
SAME = Condition("same", "the same", leave, max_drop=0.0, min_same=1.0)


def test_drop_and_share_by_hand(tmp_path):
    # Said as recorded: sad, sad, neutral, neutral, angry, angry; true in 2/2, 1/2 and 2/2.
    emotions = ["sad", "sad", "neutral", "angry", "angry", "neutral"]
    clips = write_peaks(tmp_path, [0.1, 0.1, 0.3, 0.5, 0.5, 0.1], emotions)
    more = Condition("loud", "more", partial(amplify, factor=2.0), 2.0, compared_with="all loud")
    table = measure_robustness(Ear(), clips, voices=clips, conditions=[SAME, LOUD, more])
    assert table.columns.tolist() == COLUMNS
    by_name = table.set_index("condition")
    recorded = (1 + 1 + 1 / 2) / 3
    assert table["condition"].tolist() == ["as recorded", "the same", "all loud", "more"]
    assert table["n"].tolist() == [6] * 4 and (table["note"] == "").all()
    for name in ("as recorded", "the same"):
        row = by_name.loc[name, ["uar", "drop", "same"]].astype(float)
        np.testing.assert_allclose(row, [recorded, 0, 1])
    # All angry: recall 0, 0 and 1; two of six said so before.
    row = by_name.loc["all loud", ["uar", "drop", "same"]].astype(float)
    np.testing.assert_allclose(row, [1 / 3, recorded - 1 / 3, 2 / 6])
    # Twice as loud: neutral, neutral, angry, angry, angry, neutral. Three as when all are loud.
    row = by_name.loc["more", ["uar", "drop", "same", "level"]].astype(float)
    np.testing.assert_allclose(row, [(0 + 1 / 2 + 1) / 3, recorded - 1 / 2, 3 / 6, 2])
    assert by_name["passed"].tolist() == [None, True, False, None]


@pytest.mark.parametrize(("flipped", "passes"), [(1, True), (2, False)])
@pytest.mark.parametrize(
    "limit", [{"max_drop": 0.05}, {"min_same": 0.95}, {"max_drop": 0.05, "min_same": 0.5}]
)
def test_a_limit_that_is_met_exactly_is_met(limit, flipped, passes, tmp_path):
    # Of 20 sad clips one or two become angry: UAR falls by 0.05 or 0.1.
    peaks = [0.05] * flipped + [0.15] * (20 - flipped)
    clips = write_peaks(tmp_path, peaks, ["sad"] * 20)
    some = Condition("some", "some", partial(amplify, below=0.1), **limit)
    table = measure_robustness(Ear(), clips, voices=clips, conditions=[some])
    assert table.loc[1, "drop"] == pytest.approx(flipped / 20)
    assert table.loc[1, "same"] == pytest.approx(1 - flipped / 20)
    assert table.loc[1, "passed"] is passes
    assert set(to_checks(table).loc[:0, "passed"]) == {passes}


def test_what_fails_is_left_out_and_said(tmp_path):
    emotions = ["sad", "neutral", "angry", "angry"]
    clips = write_peaks(tmp_path, [0.1, 0.3, 0.3, 0.9], emotions)
    conditions = [
        Condition("x", "not the loud", refuse_loud, max_drop=0.0),
        Condition("x", "none", refuse, min_same=0.5),
    ]
    table = measure_robustness(Ear(), clips, voices=clips, conditions=conditions)
    assert table["n"].tolist() == [4, 3, 0]
    # The drop is on the three clips that are left: their recall is 1, 1 and 0 before and after.
    assert table.loc[1, ["uar", "drop", "same"]].tolist() == [pytest.approx(2 / 3), 0, 1]
    assert table.loc[1, "note"] == "1 of 4 clips failed: RuntimeError: too loud"
    assert table.loc[2, "note"] == "4 of 4 clips failed: OSError: no encoder"
    assert table.loc[2, ["uar", "drop", "same"]].isna().all()
    assert table["passed"].tolist() == [None, True, None]
    checks = to_checks(table)
    assert checks["passed"].tolist() == [True, None] and checks["n"].tolist() == [3, 0]


def test_babble_is_made_of_five_others(tmp_path):
    (tmp_path / "voices").mkdir()
    peaks = [0.01 * place for place in range(1, 13)]
    voices = write_peaks(tmp_path / "voices", peaks, ["sad"] * 12)
    clips = write_peaks(tmp_path, [0.5, 0.6], ["angry", "angry"])
    heard = []

    def listen(y, rng, *, voices):
        heard.append(sorted(round(100 * float(np.abs(voice).max())) for voice in voices))
        return y

    babble = [Condition("b", f"babble {k}", listen, needs_voices=True) for k in range(2)]
    measure_robustness(Ear(), clips, voices=voices, conditions=babble)
    # Clips of own-0 hear voices of own-1, the even peaks; each condition the same ones.
    assert heard[0] == heard[1] and heard[2] == heard[3] and heard[0] != heard[2]
    for peaks, remainder in ((heard[0], 0), (heard[2], 1)):
        assert len(set(peaks)) == 5 and all(peak % 2 == remainder for peak in peaks)


# ---------------------------------------------------------------------------- with a model


@pytest.fixture(scope="module")
def predictor(tmp_path_factory) -> Predictor:
    card = make_card(name="tiny", classes=CLASSES, settings=SETTINGS)
    path = tmp_path_factory.mktemp("model") / "model.keras"
    return Predictor(save_model(build_tiny_model(), path, card))


@pytest.fixture(scope="module")
def clips(tmp_path_factory) -> pd.DataFrame:
    folder = tmp_path_factory.mktemp("clips")
    rows = [
        (str(write_tone(folder / f"{hz}.wav", hz, duration_s=0.6)), CLASSES[place % 3], f"own-{hz}")
        for place, hz in enumerate((150, 300, 800, 2000, 3000, 6000))
    ]
    return pd.DataFrame(rows, columns=["path", "emotion", "speaker"])


def test_neither_order_nor_company_of_clips_matters(predictor, clips):
    chosen = [BY_NAME[f"{noise} 5 dB"] for noise in ("white noise", "babble", "music")]
    common = {"voices": clips, "conditions": [*chosen, BY_NAME["large room"]]}
    table = measure_robustness(predictor, clips, **common)
    shuffled = clips.sample(frac=1, random_state=1)
    pd.testing.assert_frame_equal(measure_robustness(predictor, shuffled, **common), table)
    alone = [measure_robustness(predictor, clips[k : k + 1], **common) for k in range(len(clips))]
    same = np.mean([one["same"] for one in alone], axis=0)
    np.testing.assert_allclose(same, table["same"])
    assert 0 < table["same"].min() < 1  # some clips change, and the same ones each time


# ---------------------------------------------------------------------------- checks and figure


def make_table() -> pd.DataFrame:
    """Curves of three kinds; within both limits, beyond one, without one, and not tested."""
    nan = np.nan
    rows = [
        ("as recorded", "as recorded", nan, 40, 0.6, 0.0, nan, 1.0, nan, None, ""),
        ("white noise", "white noise 20 dB", 20, 40, 0.5, 0.1, 0.05, 0.92, 0.9, False, ""),
        ("white noise", "white noise 30 dB", 30, 40, 0.6, 0.0, nan, 0.97, nan, None, ""),
        ("MP3", "MP3 16 kbit/s", 16, 0, nan, nan, 0.05, nan, 0.5, None, "40 of 40 clips failed"),
        ("first", "first 1 s", 1, 40, 0.4, 0.2, nan, 0.7, nan, None, ""),
        ("gain", "gain 2 dB", 2, 40, 0.61, -0.01, nan, 0.95, 0.95, True, ""),
    ]
    return pd.DataFrame(rows, columns=COLUMNS).astype({"passed": object})


def test_the_figure_shows_each_condition_and_curve():
    import matplotlib.pyplot as plt

    table = make_table()
    figure = plot_robustness(table, chance=0.125, title="Noise costs more than gain")
    noise, codec, onset, conditions = figure.axes
    assert figure.get_suptitle() == "Noise costs more than gain"
    assert noise.get_xlabel() == "signal-to-noise ratio (dB)" and noise.get_ylabel() == "UAR"
    assert codec.get_xlabel() == "bit rate (kbit/s)" and "onset" in onset.get_xlabel()
    np.testing.assert_array_equal(noise.lines[0].get_xydata(), [[20, 0.5], [30, 0.6]])
    heights = {text.get_text(): text.xy[1] for text in noise.texts}
    assert heights == pytest.approx({"as recorded": 0.6, "chance": 0.125})
    points, limits = conditions.collections
    np.testing.assert_allclose(points.get_offsets().data[:, 0], table["same"][1:].dropna())
    np.testing.assert_allclose(limits.get_offsets().data[:, 0], table["needed_same"][1:])
    names = [label.get_text() for label in conditions.get_yticklabels()]
    assert names == table["condition"].tolist()[1:]
    kinds = {text.get_text() for text in conditions.get_legend().texts}
    assert kinds == {"within its limits", "beyond a limit", "no limit", "limit of this share"}
    plt.close(figure)
