"""One fold of one seed: a process of its own to compute it, a file of its own to keep it.

A part is kept under a hash of all that it depends on. What was killed is carried on by the next
call, what was changed is computed anew, and what is half written does not count.
"""

from __future__ import annotations

import hashlib
import os
import pickle
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Hashable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import suppress
from dataclasses import asdict, dataclass

import joblib
import numpy as np
import pandas as pd

from helpers.corpora import CORPORA, class_order
from helpers.errors import UserError
from helpers.experiments.baselines import fit_svm
from helpers.features.extract import FeatureSettings, extract_features
from helpers.models.recipes import Recipe, hash_code
from helpers.parallel import KEEP_MEMORY
from helpers.runs import (
    PROJECT_ROOT,
    Run,
    dump_json,
    fingerprint,
    package_versions,
)
from helpers.splits import count_folds, make_split

#: Protocols that deal speakers, with a fold for each hand; the others have one split a seed.
DEALING = ("speaker-independent", "speaker-text-independent")
#: Columns of the utterance table that a part repeats.
FACTS = ["path", "sha256", "corpus", "speaker", "gender", "intensity", "text", "emotion"]
_ENVIRONMENT = {
    "PYTHONHASHSEED": "0",
    # One thread: neither the order of a sum nor its last bit depends on how much runs at once.
    **{f"TF_NUM_{kind}_THREADS": "1" for kind in ("INTRAOP", "INTEROP")},
    **{f"{name}_NUM_THREADS": "1" for name in ("OMP", "OPENBLAS", "MKL")},
    "TF_FORCE_GPU_ALLOW_GROWTH": "true",  # several processes share one graphics card
    **KEEP_MEMORY,
}


@dataclass(frozen=True)
class Part:
    """One fold of one seed.

    Attributes
    ----------
    run : Run
    folder : str
        In the run folder, of all parts that differ in fold and seed only; see :func:`describe`.
    seed, fold : int
    """

    run: Run
    folder: str
    seed: int
    fold: int

    @property
    def name(self) -> str:
        """Of its file in the run folder."""
        return f"{self.folder}/fold-{self.fold:02d}-seed-{self.seed}.csv"

    def read(self, tested: pd.DataFrame) -> pd.DataFrame | None:
        """Predictions for the clips ``tested``; None if they are not there, or not whole."""
        try:
            table = self.run.read_table(self.name, made_by="")
            # `seed` stands last in a row: where it is whole, the row is.
            same = table["sha256"].tolist() == tested["sha256"].tolist()
            whole = same and (table["seed"] == self.seed).all()
        except (UserError, OSError, ValueError, KeyError):
            return None
        # The recordings may have been moved since.
        return table.assign(path=tested["path"].to_numpy()) if whole else None

    def compute(
        self, clips: pd.DataFrame, split: pd.Series, recipe: Recipe | None, classes: list[str]
    ) -> None:
        """Train on one split and write what the model says of its test side.

        Parameters
        ----------
        clips : pd.DataFrame
        split : pd.Series
            Side of each clip.
        recipe : Recipe or None
            None for the support vector machine.
        classes : list of str
        """
        x = extract_features(clips, family=family_of(recipe), n_jobs=1)
        test = (split == "test").to_numpy()
        table = clips.loc[test, FACTS].reset_index(drop=True)
        if recipe is None:
            machine = fit_svm(x, clips["emotion"], split, seed=self.seed)
            table["predicted"] = machine.predict(x[test].to_numpy(dtype="float64"))
            table["confidence"] = np.nan
        else:
            body = recipe.fit(x, clips["emotion"], split, classes=classes, seed=self.seed)
            held = np.asarray(x)[test].astype("float32")
            shares = pd.DataFrame(body.predict(held, batch_size=256, verbose=0), columns=classes)
            table["predicted"], table["confidence"] = shares.idxmax(axis=1), shares.max(axis=1)
            table = pd.concat([table, shares], axis=1)
        self.run.save_table(table.assign(fold=self.fold, seed=self.seed), self.name)


def family_of(recipe: Recipe | None) -> str:
    """Feature family of a network, or of the support vector machine."""
    return recipe.family if recipe else "functionals"


def n_folds(clips: pd.DataFrame, protocol: str) -> int:
    """Folds after which everybody was tested; 1 where the sides are not dealt by speaker."""
    return count_folds(clips) if protocol in DEALING else 1


def describe(
    clips: pd.DataFrame, model: str, recipe: Recipe | None, *, protocol: str, jobs: int = -1
) -> dict:
    """All that parts of one kind depend on, which is also what a reader should know of them.

    Features stand for the formulas that made them, the splits of the first seed for the rules by
    which speakers are dealt, and a hash for the code of the network and of its training.

    Parameters
    ----------
    clips : pd.DataFrame
        Utterance table with ``sha256``.
    model, protocol : str
    recipe : Recipe or None
    jobs : int
        Processes that compute the features that are not there yet.

    Returns
    -------
    dict
        ``model protocol corpora synthetic fingerprint clips speakers classes n_folds family
        features settings augment code inputs versions``.
    """
    corpora = sorted(clips["corpus"].unique())
    settings = asdict(recipe.settings) if recipe else {}
    settings.pop("seed", None)
    digest = hashlib.sha256()
    for fold in range(1, n_folds(clips, protocol) + 1):
        digest.update(",".join(make_split(clips, protocol=protocol, fold=fold)).encode())
    digest.update(clips[FACTS[1:]].to_csv(index=False).encode())
    x = extract_features(clips, family=family_of(recipe), n_jobs=jobs)
    digest.update(np.ascontiguousarray(x))
    return {
        "model": model,
        "protocol": protocol,
        "corpora": corpora,
        "synthetic": any(name in CORPORA and CORPORA[name].generated for name in corpora),
        "fingerprint": fingerprint(clips),
        "clips": len(clips),
        "speakers": clips["speaker"].nunique(),
        "classes": class_order(clips["emotion"]),
        "n_folds": n_folds(clips, protocol),
        "family": family_of(recipe),
        "features": asdict(FeatureSettings()),
        "settings": settings,
        "augment": bool(recipe and recipe.augment),
        "code": recipe.hash_code() if recipe else hash_code(fit_svm),
        "inputs": digest.hexdigest()[:16],
        "versions": package_versions(),
    }


def parts_folder(facts: dict) -> str:
    """Where in the run folder the parts of :func:`describe` are kept."""
    return f"parts/{hashlib.sha256(dump_json(facts).encode()).hexdigest()[:12]}"


def run_apart(
    calls: dict[Hashable, Callable[[], None]], *, jobs: int = -1
) -> Iterator[tuple[Hashable, float, str, str]]:
    """Make each call in a process of its own with one thread.

    Parameters
    ----------
    calls : dict of callable
        Each must be one that can be pickled.
    jobs : int
        Processes at once, -1 for one a core.

    Yields
    ------
    tuple of (key, float, str, str)
        Of each call when it has ended: its key, its seconds, what went wrong (empty if nothing
        did) and all that it printed. On an error here, or Ctrl-C, those that run are killed.
    """
    started, stop = [], threading.Event()
    with ThreadPoolExecutor(joblib.cpu_count() if jobs < 0 else jobs) as pool:
        waiting = {
            pool.submit(_call_apart, call, started, stop): key for key, call in calls.items()
        }
        try:
            for future in as_completed(waiting):
                yield waiting[future], *future.result()
        finally:
            stop.set()
            pool.shutdown(wait=False, cancel_futures=True)
            for process in started:
                process.kill()  # has no effect on one that has ended


def _call_apart(
    call: Callable[[], None], started: list[subprocess.Popen], stop: threading.Event
) -> tuple[float, str, str]:
    begin = time.perf_counter()
    paths = [str(PROJECT_ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {**os.environ, **_ENVIRONMENT, "PYTHONPATH": os.pathsep.join(paths)}
    # -P: a folder called helpers in the working folder is not this package.
    command = [sys.executable, "-P", "-m", __name__]
    with tempfile.TemporaryFile() as log:
        with subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=log, stderr=log, env=environment
        ) as process:
            started.append(process)
            if stop.is_set():
                process.kill()
            with suppress(BrokenPipeError):  # it died at its start; its output says why
                process.stdin.write(pickle.dumps(call))
                process.stdin.flush()
            process.wait()  # before the pipe is closed, which would say that we are gone
        log.seek(0)
        said = log.read().decode(errors="replace")
    error = ""
    if process.returncode < 0:
        error = f"killed by signal {-process.returncode}, perhaps for want of memory"
    elif process.returncode:
        error = (said.strip() or f"exit code {process.returncode}").splitlines()[-1]
    return time.perf_counter() - begin, error, said


def _serve() -> None:
    """Read a call from the pipe and make it; end at once when the other end is gone."""
    call = pickle.load(sys.stdin.buffer)

    def follow() -> None:
        os.read(0, 1)  # not by sys.stdin, whose lock would be held when Python ends
        os._exit(1)

    threading.Thread(target=follow, daemon=True).start()
    call()


if __name__ == "__main__":
    _serve()
