"""What each step costs as a corpus grows: time, memory, and the exponent of its growth.

    python benchmarks/growth.py                      100, 1 000, 10 000 and 50 000 clips
    python benchmarks/growth.py --sizes 100 1000
    python benchmarks/growth.py --cores              10 000 clips on one core, two, and Dask
    python benchmarks/growth.py --score              50 000 clips, from files to a score

The clips are seconds cut out of RAVDESS (`ser corpora get ravdess`), each at another place, in
folders by actor and emotion. Every step of every size is a process of its own, with two cores; what
it imports is not in its time. Memory is the largest sum of what a step's processes hold for
themselves, without files that are mapped: the system takes these back when it needs the room.
The table is kept as it grows (`--table`); steps that are in it already are not measured again.
openSMILE is asked where it is installed (``benchmarks/requirements.txt``).
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pandas as pd
import psutil
import soundfile

from helpers.columns import PROTOCOLS
from helpers.corpora import class_order, load_corpora
from helpers.features.extract import extract_features
from helpers.runs import outputs_home
from helpers.sound.audio import SAMPLE_RATE, load_audio
from helpers.sound.inspection import inspect_clips
from helpers.splits import make_split

SIZES = (100, 1_000, 10_000, 50_000)
HOME = outputs_home() / "growth"
LARGEST_SLOW = 10_000  # functionals cost five times a log-mel


def make_clips(n: int) -> Path:
    """Folder of ``n`` clips of one second; of a larger corpus, a smaller one is the beginning."""
    folder = HOME / str(n)
    done = HOME / f"{n}.done"
    if done.exists():
        return folder
    recordings = load_corpora("ravdess")
    recordings = recordings.sample(frac=1, random_state=0, ignore_index=True)
    n_places = -(-n // len(recordings))
    for row in recordings.itertuples():
        numbers = range(row.Index, n, len(recordings))
        if not len(numbers):
            break
        y = load_audio(row.path)
        starts = np.linspace(0, len(y) - SAMPLE_RATE, n_places).astype(int)
        for number, start in zip(numbers, starts, strict=False):
            path = folder / row.speaker / row.emotion / f"{number}.wav"
            path.parent.mkdir(parents=True, exist_ok=True)
            soundfile.write(path, y[start : start + SAMPLE_RATE], SAMPLE_RATE)
    done.touch()
    return folder


def open_table(n: int) -> pd.DataFrame:
    """The clips of a corpus with their split, as :func:`check` found them."""
    path = HOME / f"{n}.pkl"
    if not path.exists():
        clips, _ = inspect_clips(load_corpora(str(make_clips(n))))
        clips["split"] = make_split(clips, protocol=PROTOCOLS[0])
        clips.to_pickle(path)
    return pd.read_pickle(path)


# ---- Steps: each returns a function to be timed ----


def listing(n: int) -> Callable:
    folder = str(make_clips(n))
    return lambda: load_corpora(folder)


def check(n: int) -> Callable:
    table = load_corpora(str(make_clips(n)))
    return lambda: inspect_clips(table)


def features(n: int, family: str) -> Callable:
    clips = open_table(n)
    return lambda: extract_features(clips, family=family, cache=HOME / f"cache-{n}")


def smile(n: int) -> Callable:
    """The peer for functionals: 6373 of them, by openSMILE in two processes, which reads itself."""
    import opensmile

    paths = open_table(n)["path"].tolist()
    extractor = opensmile.Smile(
        opensmile.FeatureSet.ComParE_2016, num_workers=2, multiprocessing=True
    )
    return lambda: extractor.process_files(paths)


def epoch(n: int) -> Callable:
    from helpers.models.recipes import RECIPES
    from helpers.models.training import fit_model, prepare_keras

    clips, recipe = open_table(n), RECIPES["cnn"]
    x = extract_features(clips, family="logmel", cache=HOME / f"cache-{n}")
    classes = class_order(clips["emotion"])
    prepare_keras(0)
    model = recipe.build(x.shape[1:], len(classes))
    settings = replace(recipe.settings, epochs=1, wait=0)
    options = {"classes": classes, "settings": settings, "augment": recipe.augment}
    return lambda: fit_model(model, x, clips, clips["split"], **options)


def prediction(n: int) -> Callable:
    from helpers.models.modelfile import SHIPPED
    from helpers.models.prediction import Predictor

    paths, predictor = open_table(n)["path"], Predictor(SHIPPED)
    predictor.warm_up()
    return lambda: predictor.predict_files(paths, any_sound=True)


def scores(n: int) -> Callable:
    """What 06 computes of the answers: scores, intervals, groups. Half of them are right."""
    from helpers.evaluation.groups import score_groups
    from helpers.evaluation.scores import score_predictions

    clips = open_table(n)
    classes = class_order(clips["emotion"])
    rng = np.random.default_rng(0)
    guess = rng.choice(classes, len(clips))
    said = np.where(rng.random(len(clips)) < 0.5, clips["emotion"], guess)
    answers = clips.assign(predicted=said)

    def score() -> None:
        score_predictions(answers, classes, protocol=PROTOCOLS[0])
        score_groups(answers, {"speaker": answers["speaker"]}, classes)

    return score


STEPS: dict[str, Callable[[int], Callable]] = {
    "list": listing,
    "check": check,
    "log-mel, cold": lambda n: features(n, "logmel"),
    "log-mel, warm": lambda n: features(n, "logmel"),
    "functionals, cold": lambda n: features(n, "functionals"),
    "functionals of openSMILE": smile,
    "one epoch of the CNN": epoch,
    "answers of the shipped model": prediction,
    "scores of 06": scores,
}

# ---- Measuring ----


def watch(command: list[str]) -> tuple[float, float, str]:
    """Seconds, the largest memory of all its processes in MB, and what a command printed."""
    begin = time.perf_counter()
    process = psutil.Popen(command, stdout=subprocess.PIPE, text=True)
    most = 0
    while process.poll() is None:
        try:
            family = [process, *process.children(recursive=True)]
            held = [one.memory_info() for one in family]
            most = max(most, sum(one.rss - one.shared for one in held))
        except psutil.Error:  # one has just ended
            pass
        time.sleep(0.3)
    if process.returncode:
        sys.exit(f"{command} failed")
    return time.perf_counter() - begin, most / 1e6, process.stdout.read()


def measure(sizes: list[int], path: Path) -> None:
    done = pd.read_csv(path) if path.exists() else pd.DataFrame(columns=["step", "clips"])
    steps = [step for step in STEPS if step != "functionals of openSMILE" or find_spec("opensmile")]
    for n in sizes:
        open_table(n)
        for step in steps:
            known = ((done["step"] == step) & (done["clips"] == n)).any()
            if known or (step.startswith("functionals") and n > LARGEST_SLOW):
                continue
            _, memory_mb, said = watch(
                [sys.executable, "-W", "ignore", __file__, "--step", step, str(n)]
            )
            row = {"step": step, "clips": n, "seconds": json.loads(said.splitlines()[-1])}
            done = pd.concat([done, pd.DataFrame([row | {"memory_mb": round(memory_mb)}])])
            done.to_csv(path, index=False)
            print(row, round(memory_mb), "MB", flush=True)


def report(path: Path) -> None:
    """Cost by size, and the exponent from 1 000 clips on: 1 is work in proportion."""
    table = pd.read_csv(path)
    for column in ("seconds", "memory_mb"):
        shown = table.pivot(index="step", columns="clips", values=column).reindex(list(STEPS))
        if column == "seconds":
            large = table[table["clips"] >= 1000].assign(clips=np.log(table["clips"]))
            for step, rows in large.groupby("step"):
                slope = np.polyfit(rows["clips"], np.log(rows["seconds"]), 1)[0]
                shown.loc[step, "exponent"] = slope if len(rows) > 1 else np.nan
        print(f"\n{column}\n{shown.round(2)}")


def compare_cores(n: int) -> None:
    """Log-mel and functionals of ``n`` clips, cold, by one process, two, and two Dask workers."""
    from distributed import LocalCluster

    clips = open_table(n)
    with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster:
        for turn in range(2):  # the first starts all processes, and is not shown
            for family in ("logmel", "functionals"):
                for name, n_jobs, scheduler in (
                    ("one core", 1, ""),
                    ("two cores", 2, ""),
                    ("two Dask workers", 1, cluster.scheduler_address),
                ):
                    os.environ["SER_SCHEDULER"] = scheduler
                    few = clips if turn else clips.head(100)
                    with tempfile.TemporaryDirectory() as cache:
                        begin = time.perf_counter()
                        extract_features(few, family=family, cache=Path(cache), n_jobs=n_jobs)
                    if turn:
                        print(f"{family}, {name}: {time.perf_counter() - begin:.1f} s", flush=True)


def score_all(n: int) -> None:
    """From files to a score by ``ser cv``, with an empty cache."""
    folder = make_clips(n)
    command = [sys.executable, "-W", "ignore", "-m", "helpers.cli", "cv", "--corpora", str(folder)]
    command += ["--model", "cnn", "--folds", "1", "--epochs", "2", "--run", f"growth-{n}"]
    seconds, memory_mb, said = watch(command)
    print(said)
    print(f"{n} clips from files to a score: {seconds / 60:.1f} min, at most {memory_mb:.0f} MB")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES)
    parser.add_argument("--table", type=Path, default=HOME / "growth.csv", help="kept here")
    parser.add_argument("--cores", action="store_true", help="one core, two, and a Dask cluster")
    parser.add_argument("--score", action="store_true", help="the largest size, to a score")
    parser.add_argument("--step", nargs=2, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.step:
        work = STEPS[given.step[0]](int(given.step[1]))
        begin = time.perf_counter()
        work()
        print(json.dumps(round(time.perf_counter() - begin, 3)))
    elif given.cores:
        compare_cores(LARGEST_SLOW)
    elif given.score:
        score_all(max(given.sizes))
    else:
        given.table.parent.mkdir(parents=True, exist_ok=True)
        measure(given.sizes, given.table)
        report(given.table)


if __name__ == "__main__":
    main()
