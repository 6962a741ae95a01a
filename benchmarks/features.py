"""How long features take, and how far pitch trackers agree. Run it with `make bench`.

Everything that is compared takes turns on the same clips in one process on one core, so that a
machine that becomes slower on the way slows all of them down; ratios are of such pairs. Decoding
is part of every time. Needs RAVDESS (`ser corpora get ravdess`) in SER_DATA or data/.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import librosa
import numpy as np
import pandas as pd

from helpers.corpora import load_corpora
from helpers.features.extract import compute_features, extract_features
from helpers.features.voice import F0_MAX, F0_MIN, track_pitch
from helpers.parallel import KEEP_MEMORY
from helpers.sound.audio import SAMPLE_RATE, fit_clip, load_audio

SECONDS = 3.0
HOP = 320


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clips", type=int, default=60, help="for the times of one core")
    arguments = parser.parse_args()
    if not KEEP_MEMORY.items() <= os.environ.items():
        # Read when a process starts: without it, one core would lack what the workers have.
        os.execve(sys.executable, [sys.executable, *sys.argv], os.environ | KEEP_MEMORY)
    table = load_corpora("ravdess")
    few = table.sample(arguments.clips, random_state=0)["path"].tolist()
    time_one_core(few)
    compare_trackers(few)
    time_corpus(table)


# --- one core -----------------------------------------------------------------------------------


def time_one_core(paths: list[str]) -> None:
    contestants = {
        "functionals (254)": lambda y: compute_features(y, family="functionals"),
        "librosa, a call a feature": call_librosa_once_a_feature,
        "openSMILE ComParE-2016": make_opensmile("ComParE_2016"),
        "openSMILE eGeMAPS": make_opensmile("eGeMAPSv02"),
        "log-mel": lambda y: compute_features(y, family="logmel"),
        "prosody": lambda y: compute_features(y, family="prosody"),
        "decoding alone": lambda y: y,
    }
    times = take_turns({name: call for name, call in contestants.items() if call}, paths)
    print(f"\nms a clip of {SECONDS:g} s on one core, decoding included, {len(paths)} clips")
    ours = times["functionals (254)"]
    print(
        pd.DataFrame(
            {
                "median": times.median(),
                "quartile 1": times.quantile(0.25),
                "quartile 3": times.quantile(0.75),
                "times functionals": times.div(ours, axis=0).median(),
            }
        ).round(1)
    )


def take_turns(contestants: dict[str, Callable], paths: list[str]) -> pd.DataFrame:
    """ms a clip, a row a clip and a column a contestant; a first round is not counted."""
    rows = []
    for place, path in enumerate([paths[0], *paths]):
        row = {}
        names = list(contestants)
        for name in names[place % len(names) :] + names[: place % len(names)]:
            start = time.perf_counter()
            contestants[name](fit_clip(load_audio(path), round(SECONDS * SAMPLE_RATE)))
            row[name] = 1000 * (time.perf_counter() - start)
        rows.append(row)
    return pd.DataFrame(rows[1:])[list(contestants)]


def call_librosa_once_a_feature(y: np.ndarray) -> float:
    """What is usual: each feature from the waveform, pyin, tonnetz of the harmonic part."""
    common = {"y": y, "sr": SAMPLE_RATE}
    voice = librosa.pyin(y, fmin=F0_MIN, fmax=F0_MAX, sr=SAMPLE_RATE)[0]
    mfcc = librosa.feature.mfcc(**common, n_mfcc=20)
    tempo = librosa.beat.beat_track(**common)
    found = [
        librosa.feature.zero_crossing_rate(y),
        librosa.feature.rms(y=y),
        librosa.feature.spectral_centroid(**common),
        librosa.feature.spectral_bandwidth(**common),
        librosa.feature.spectral_rolloff(**common),
        librosa.feature.spectral_contrast(**common),
        librosa.feature.spectral_flatness(y=y),
        librosa.feature.delta(mfcc),
        librosa.feature.delta(mfcc, order=2),
        librosa.feature.chroma_stft(**common),
        librosa.feature.tonnetz(y=librosa.effects.harmonic(y), sr=SAMPLE_RATE),
        librosa.power_to_db(librosa.feature.melspectrogram(**common)),
    ]
    return sum(x.mean() for x in found) + np.nanmean(voice) + len(tempo)


def make_opensmile(name: str) -> Callable | None:
    try:
        import opensmile
    except ImportError:
        print("opensmile is not installed: left out (see benchmarks/requirements.txt)")
        return None
    smile = opensmile.Smile(getattr(opensmile.FeatureSet, name), num_workers=1)
    return lambda y: smile.process_signal(y, SAMPLE_RATE)


# --- pitch --------------------------------------------------------------------------------------


def compare_trackers(paths: list[str]) -> None:
    """Time of each tracker, and how far each agrees with each other one."""
    trackers = {"ours": lambda y: track_pitch(y, hop=HOP).f0, "yin": follow_yin}
    trackers |= {"pyin": follow_pyin, "praat": make_praat()}
    trackers = {name: call for name, call in trackers.items() if call}
    ms, contours = {name: [] for name in trackers}, {name: [] for name in trackers}
    for place, path in enumerate([paths[0], *paths]):
        y = fit_clip(load_audio(path), round(SECONDS * SAMPLE_RATE))
        for name, call in trackers.items():
            start = time.perf_counter()
            f0 = call(y)
            if place:
                ms[name].append(1000 * (time.perf_counter() - start))
                contours[name].append(f0)
    whole = {name: np.concatenate(parts) for name, parts in contours.items()}
    rows = []
    for one in trackers:
        for other in trackers:
            if one == other:
                continue
            a, b = whole[one], whole[other]
            both = np.isfinite(a) & np.isfinite(b)
            off = np.abs(np.log2(a[both] / b[both]))
            rows.append(
                {
                    "tracker": one,
                    "ms": np.median(ms[one]),
                    "against": other,
                    "same voicing": (np.isfinite(a) == np.isfinite(b)).mean(),
                    "over 20 % off": (off > np.log2(1.2)).mean(),
                    "median cents off": 1200 * np.median(off),
                }
            )
    print("\nPitch: agreement frame by frame; pitch where both find a voice")
    print(pd.DataFrame(rows).round(3).to_string(index=False))


def follow_yin(y: np.ndarray) -> np.ndarray:
    """YIN knows no voicing: frames within 40 dB of the loudest count as voiced."""
    f0 = librosa.yin(y, fmin=F0_MIN, fmax=F0_MAX, sr=SAMPLE_RATE, frame_length=1024, hop_length=HOP)
    rms = librosa.feature.rms(y=y, frame_length=1024, hop_length=HOP)[0]
    return np.where(rms > 0.01 * rms.max(), f0, np.nan)


def follow_pyin(y: np.ndarray) -> np.ndarray:
    return librosa.pyin(
        y, fmin=F0_MIN, fmax=F0_MAX, sr=SAMPLE_RATE, frame_length=1024, hop_length=HOP
    )[0]


def make_praat() -> Callable | None:
    try:
        import parselmouth
    except ImportError:
        print("praat-parselmouth is not installed: left out (see benchmarks/requirements.txt)")
        return None

    def follow(y: np.ndarray) -> np.ndarray:
        sound = parselmouth.Sound(y.astype("float64"), SAMPLE_RATE)
        pitch = sound.to_pitch_ac(
            time_step=HOP / SAMPLE_RATE, pitch_floor=F0_MIN, pitch_ceiling=F0_MAX
        )
        times = np.arange(1 + len(y) // HOP) * HOP / SAMPLE_RATE
        return np.array([pitch.get_value_at_time(t) for t in times])

    return follow


# --- a corpus -----------------------------------------------------------------------------------


def time_corpus(table: pd.DataFrame) -> None:
    print(f"\n{len(table)} clips of RAVDESS")
    warm = table.head(100)
    with tempfile.TemporaryDirectory() as folder:
        # Processes are started, and what they import is read, before the clock runs.
        extract_features(warm, family="functionals", n_jobs=2, cache=Path(folder) / "warm")
        ratios = []
        for turn in range(3):
            seconds = {}
            for n_jobs in (2, 1) if turn % 2 else (1, 2):
                start = time.perf_counter()
                cache = Path(folder) / f"{turn}-{n_jobs}"
                extract_features(table.head(720), family="functionals", n_jobs=n_jobs, cache=cache)
                seconds[n_jobs] = time.perf_counter() - start
            ratios.append(seconds[1] / seconds[2])
        shown = ", ".join(f"{ratio:.2f}" for ratio in ratios)
        print(f"functionals: two cores {np.median(ratios):.2f} times one (pairs: {shown})")
        families = ("logmel", "mfcc40", "vector162", "functionals")
        extract_features(table, family=families, cache=Path(folder) / "all")
        start = time.perf_counter()
        extract_features(table, family=families, cache=Path(folder) / "all")
        print(f"the same four families again: {time.perf_counter() - start:.2f} s")


if __name__ == "__main__":
    main()
