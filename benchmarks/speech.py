"""How often a sound without speech gets an emotion, and how often speech gets none.

Needs RAVDESS and TESS (`ser corpora get …`) in SER_DATA or data/; EmoDB and nEMO if they are there.
The thresholds were chosen on clips of TESS, EmoDB, nEMO and RAVDESS, and on other draws of the same
kinds of sounds: on none of these corpora is the share of refused clips a clean test.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import numpy as np
import pandas as pd

from helpers.corpora import load_corpora
from helpers.features.voice import judge_speech
from helpers.models.prediction import Predictor, find_model
from helpers.parallel import map_clips
from helpers.sound.audio import SAMPLE_RATE, load_audio
from helpers.sound.disturbances import CONDITIONS, disturb, make_music, make_rng

N_SOUNDS = 200
N_CHANGED = 400
CHANGED = (
    "white noise 20 dB",
    "white noise 10 dB",
    "music 10 dB",
    "telephone",
    "medium room",
    "large room",
)


def main() -> None:
    rows = [describe(kind, map(judge_speech, make(kind))) for kind in KINDS]
    show("sounds without speech", rows)
    tables = {str(name): clips for name, clips in load_corpora("all").groupby("corpus")}
    rows = [
        describe(name, map_clips(judge_file, clips["path"], label=name))
        for name, clips in tables.items()
    ]
    show("published clips, all", rows)
    paths = tables["ravdess"].sample(N_CHANGED, random_state=0)["path"].tolist()
    named = {condition.name: condition for condition in CONDITIONS}
    rows = []
    for name in CHANGED:
        jobs = [(path, named[name]) for path in paths]
        rows.append(describe(name, map_clips(judge_changed, jobs, label=name)))
    show(f"{N_CHANGED} clips of RAVDESS, changed", rows)
    compare_clipped(paths)
    time_it(paths)


def describe(name: str, reasons) -> dict:
    counts = pd.Series(list(reasons)).value_counts()
    n = counts.sum()
    return {
        "sounds": name,
        "n": n,
        "answered": counts.get("", 0) / n,
        **counts.drop("", errors="ignore"),
    }


def show(title: str, rows: list[dict]) -> None:
    table = pd.DataFrame(rows).fillna(0).set_index("sounds")
    whole = dict.fromkeys(table.columns.drop("answered"), int)
    print(f"\n{title}\n{table.astype(whole).to_string(float_format='{:.4f}'.format)}")


def judge_file(path: str) -> str:
    return judge_speech(load_audio(path))


def judge_changed(job: tuple) -> str:
    path, condition = job
    return judge_speech(disturb((load_audio(path), path, [], condition, 0)))


# --- sounds without speech ----------------------------------------------------------------------


def make(kind: str) -> Iterator[np.ndarray]:
    """1 to 6 s at -40 to -3 dBFS; silence is at -100 to -60, as microphones deliver it."""
    for place in range(N_SOUNDS):
        rng = make_rng(0, kind, str(place))
        n = round(SAMPLE_RATE * rng.uniform(1, 6))
        y = KINDS[kind](n, rng)
        low, high = (-100, -60) if kind == "silence" else (-40, -3)
        peak = 10 ** (rng.uniform(low, high) / 20)
        yield (peak * y / np.abs(y).max()).astype("float32")


def make_noise(power: float) -> Callable:
    """Noise whose power falls with frequency to the ``power``, from 20 Hz."""

    def noise(n: int, rng: np.random.Generator) -> np.ndarray:
        spectrum = np.fft.rfft(rng.normal(size=n))
        hz = np.fft.rfftfreq(n, 1 / SAMPLE_RATE)
        return np.fft.irfft(spectrum * np.where(hz < 20, 0, np.maximum(hz, 20) ** (-power / 2)), n)

    return noise


def make_hum(hz: float) -> Callable:
    """A mains hum of 1 to 20 harmonics, with white noise 15 to 60 dB below."""

    def hum(n: int, rng: np.random.Generator) -> np.ndarray:
        time_s, y, fall = np.arange(n) / SAMPLE_RATE, np.zeros(n), rng.uniform(0, 1.5)
        for k in range(1, rng.integers(2, 22)):
            turn = rng.uniform(0, 2 * np.pi)
            y += rng.uniform() / k**fall * np.sin(2 * np.pi * hz * k * time_s + turn)
        floor = np.abs(y).max() * 10 ** (rng.uniform(-60, -15) / 20)
        return y + floor * rng.normal(size=n)

    return hum


def make_waves(n: int, rng: np.random.Generator) -> np.ndarray:
    """Pink noise that swells 0.5 to 5 times a second, as wind or the sea."""
    swell = 1 + 0.9 * np.sin(2 * np.pi * rng.uniform(0.5, 5) * np.arange(n) / SAMPLE_RATE)
    return swell * make_noise(1)(n, rng)


def make_clicks(n: int, rng: np.random.Generator) -> np.ndarray:
    """Keys or footsteps: bursts of noise that die in 1 to 12 ms."""
    y, time = 1e-3 * rng.normal(size=n + 800), np.arange(800)
    for start in rng.integers(0, n, rng.integers(2, 25)):
        y[start : start + 800] += rng.normal(size=800) * np.exp(-time / rng.uniform(20, 200))
    return y[:n]


def make_flute(n: int, rng: np.random.Generator) -> np.ndarray:
    """One instrument that plays a melody with up to 0.4 semitones of vibrato; close to a voice."""
    y, base, start = np.zeros(n), rng.uniform(110, 440), 0
    while start < n:
        time_s = (
            np.arange(min(round(SAMPLE_RATE * rng.uniform(0.15, 0.8)), n - start)) / SAMPLE_RATE
        )
        semitones = rng.integers(13) + rng.uniform(0, 0.4) * np.sin(2 * np.pi * 5.5 * time_s)
        turns = np.cumsum(base * 2 ** (semitones / 12)) / SAMPLE_RATE
        note = sum(np.sin(2 * np.pi * k * turns) / k**1.2 for k in range(1, 8))
        edge = np.minimum(time_s, time_s[-1] - time_s) / 0.03
        y[start : start + len(note)] = note * np.minimum(1, edge)
        start += len(note)
    return y + 1e-4 * rng.normal(size=n)


KINDS = {
    "silence": make_noise(0),
    "hum 50 Hz": make_hum(50),
    "hum 60 Hz": make_hum(60),
    "white noise": make_noise(0),
    "pink noise": make_noise(1),
    "brown noise": make_noise(2),
    "music": make_music,
    "swelling noise": make_waves,
    "clicks": make_clicks,
    "flute": make_flute,
}


# --- clipping and time --------------------------------------------------------------------------


def compare_clipped(paths: list[str]) -> None:
    """Is a voice that was recorded too loud answered as before?"""
    predictor = Predictor(find_model())
    waves = [load_audio(path) for path in paths]
    before = predictor.predict_waves(waves)["emotion"]
    rows = []
    for share in (0.005, 0.01, 0.02, 0.03, 0.05, 0.1):
        loud = [np.clip(y / np.quantile(np.abs(y), 1 - share), -1, 1) for y in waves]
        row = describe(f"{share:.1%} at full scale", map(judge_speech, loud))
        rows.append(
            row | {"same emotion": (predictor.predict_waves(loud)["emotion"] == before).mean()}
        )
    table = pd.DataFrame(rows).fillna(0).set_index("sounds")
    print(f"\nrecorded too loud\n{table.to_string(float_format='{:.3f}'.format)}")


def time_it(paths: list[str]) -> None:
    waves = [load_audio(path)[: 3 * SAMPLE_RATE] for path in paths[:50]]
    times = []
    for y in waves:
        start = time.perf_counter()
        judge_speech(y)
        times.append(1000 * (time.perf_counter() - start))
    print(f"\n{np.median(times):.1f} ms for 3 s (median of {len(times)})")


if __name__ == "__main__":
    main()
