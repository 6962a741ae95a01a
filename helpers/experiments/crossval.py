"""Every fold and several seeds of one model: a score over all speakers, and how much is luck.

One fold says how a model does on four people. Over all folds everybody is tested once, by a model
that never heard them; several seeds show how far the score moves by chance alone.

One fold of one seed is a *part*. Each part has a process and a file of its own. The file lies under
a hash of all that the part depends on: what was killed is carried on by the next call, and what
was changed is computed anew.
"""

from __future__ import annotations

import hashlib
import multiprocessing
import os
import signal
import threading
import time
import traceback
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import asdict
from unittest import mock

import joblib
import numpy as np
import pandas as pd

from helpers.columns import CV_FACTS, PROTOCOLS
from helpers.corpora import CORPORA, class_order
from helpers.corpora.folds import count_folds
from helpers.errors import UserError
from helpers.evaluation.groups import name_speakers, summarise
from helpers.evaluation.scores import confusion_counts, uar
from helpers.features.extract import extract_features
from helpers.models.recipes import RECIPES
from helpers.parallel import KEEP_MEMORY
from helpers.runs import Run, dump_json, fingerprint, package_versions
from helpers.splits import make_split

_ENVIRONMENT = {
    "PYTHONHASHSEED": "0",
    # One thread: neither the order of a sum nor its last bit depends on what else is running.
    "TF_NUM_INTRAOP_THREADS": "1",
    "TF_NUM_INTEROP_THREADS": "1",
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "TF_FORCE_GPU_ALLOW_GROWTH": "true",  # several processes share one graphics card
    **KEEP_MEMORY,
}


def cross_validate(
    clips: pd.DataFrame,
    model: str,
    *,
    protocol: str = "speaker-independent",
    seeds: int = 1,
    folds: Sequence[int] | None = None,
    jobs: int = -1,
    run: Run,
    epochs: int | None = None,
) -> pd.DataFrame:
    """Train and test a model on every fold, with every seed.

    The model learns from the training set, stops by the validation set and is asked about the
    test set, by which nothing is chosen. Parts that are there already are not computed again.

    Parameters
    ----------
    clips : pd.DataFrame
        Utterance table of :func:`helpers.sound.inspection.inspect_clips`.
    model : str
        A name in :data:`helpers.models.recipes.RECIPES`.
    protocol : str
        Where speakers are not kept apart, there is fold 1 only, and the seeds differ in the split.
    seeds : int
        How many; they are counted from 0.
    folds : sequence of int, optional
        From 1; all if not given.
    jobs : int
        Parts at once, -1 for one per core; makes no difference to the results.
    run : Run
        Gets ``parts/<key>/fold-01-seed-0.csv`` …, and when all are done ``predictions.csv`` (the
        returned table) and ``cv.json`` (:func:`summarise`).
    epochs : int, optional
        Instead of the recipe's.

    Returns
    -------
    pd.DataFrame
        One row per test clip, seed by seed and fold by fold: ``path sha256 corpus speaker gender
        intensity text emotion`` (the truth), ``predicted confidence``, one column per emotion with
        its probability (none of svm, whose confidence is NaN), ``fold seed``.

    Raises
    ------
    UserError
        An unknown fold, or a split that cannot be made; before anything is computed. Also when
        parts failed, which it names; all others are done by then, and kept.
    """
    recipe = RECIPES[model].with_epochs(epochs) if epochs else RECIPES[model]
    splits = {}
    for seed in range(seeds):
        for fold in _choose_folds(clips, protocol, folds):
            splits[seed, fold] = make_split(clips, protocol=protocol, fold=fold, seed=seed)
    facts = describe(clips, model, recipe, protocol=protocol, jobs=jobs)
    folder = parts_folder(facts)
    run.save_json(facts, f"{folder}/recipe.json")
    names = {(seed, fold): f"{folder}/fold-{fold:02d}-seed-{seed}.csv" for seed, fold in splits}
    missing = [part for part in splits if not run.path(names[part]).is_file()]
    print(
        f"{model} · {protocol} · {len(clips)} clips of {facts['speakers']} speakers: "
        f"{len(splits) - len(missing)} of {len(splits)} parts were done before",
        flush=True,
    )
    failed, killed = [], False
    with _open_pool(jobs) as pool:
        waiting = {}
        for part in missing:
            job = (run, names[part], clips, splits[part], recipe, facts["classes"], *part)
            waiting[pool.submit(_compute_part, *job)] = part
        for future in as_completed(waiting):
            seed, fold = waiting[future]
            try:
                print(f"fold {fold}, seed {seed}: {future.result()}", flush=True)
            except BrokenProcessPool:
                killed = True
            except Exception as error:  # whatever it is, the other parts go on
                traceback.print_exception(error)
                failed.append(f"fold {fold}, seed {seed} ({type(error).__name__}: {error})")
    if killed:
        failed.append("a process was killed, perhaps for lack of memory, which ended the others")
    if failed:
        n_missing = sum(not run.path(name).is_file() for name in names.values())
        raise UserError(
            f"{n_missing} of {len(splits)} parts are missing: {'; '.join(failed)}. What is done is "
            "kept: the same call again computes what is missing"
        )
    tables = []
    for part, split in splits.items():
        tested = clips.loc[split == "test", "path"].to_numpy()
        # The recordings may have been moved since the part was computed.
        tables.append(run.read_table(names[part], made_by="").assign(path=tested))
    table = pd.concat(tables, ignore_index=True)
    run.save_table(table, "predictions.csv")
    run.save_json(summarise(table, **facts), "cv.json")
    return table


@contextmanager
def _open_pool(jobs: int) -> Iterator[ProcessPoolExecutor]:
    """Processes that begin anew for each part; on an error here, or Ctrl-C, they are killed."""
    # A new process has the environment before NumPy and TensorFlow start.
    with mock.patch.dict(os.environ, _ENVIRONMENT):
        pool = ProcessPoolExecutor(
            joblib.cpu_count() if jobs < 0 else jobs,
            mp_context=multiprocessing.get_context("spawn"),
            initializer=_begin_worker,
            max_tasks_per_child=1,
        )
        try:
            yield pool
        except BaseException:
            for process in multiprocessing.active_children():
                process.kill()
            raise
        finally:
            pool.shutdown(cancel_futures=True)


def _begin_worker() -> None:
    """Leave Ctrl-C to the process that started this one, and end when that one does."""

    def end_with_parent() -> None:
        multiprocessing.parent_process().join()  # type: ignore[union-attr]
        os._exit(1)

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=end_with_parent, daemon=True).start()


def _compute_part(run, name, clips, split, recipe, classes, seed, fold) -> str:
    """Train on one split, write what the model says of its test set, and return a line on it."""
    begin = time.perf_counter()
    x = _extract(clips, recipe, 1)
    answers = recipe.fit_predict(x, clips, split, classes=classes, seed=seed)
    facts = clips.loc[split == "test", CV_FACTS].reset_index(drop=True)
    table = pd.concat([facts, answers], axis=1)
    run.save_table(table.assign(fold=fold, seed=seed), name)
    found = uar(confusion_counts(table["emotion"], table["predicted"], classes))
    seconds = time.perf_counter() - begin
    return f"UAR {found:.3f} on {name_speakers(table['speaker'])} · {seconds:.0f} s"


def _extract(clips: pd.DataFrame, recipe, n_jobs: int):
    return extract_features(clips, family=recipe.family, settings=recipe.features, n_jobs=n_jobs)


def describe(clips: pd.DataFrame, model: str, recipe, *, protocol: str, jobs: int = -1) -> dict:
    """All that the parts of one model depend on, which is also what a reader should know of them.

    Features stand for the formulas that made them, the splits of the first seed for the rules by
    which speakers are put into a set, and a hash for the code of the model and of its training.
    ``jobs`` processes compute the features that are not there yet.
    """
    corpora = sorted(clips["corpus"].unique())
    n_folds = _n_folds(clips, protocol)
    digest = hashlib.sha256()
    for fold in range(1, n_folds + 1):
        digest.update(",".join(make_split(clips, protocol=protocol, fold=fold)).encode())
    digest.update(clips[CV_FACTS[1:]].to_csv(index=False).encode())
    digest.update(np.ascontiguousarray(_extract(clips, recipe, jobs)).data)
    return {
        "model": model,
        "protocol": protocol,
        "corpora": corpora,
        "synthetic": any(name in CORPORA and CORPORA[name].generated for name in corpora),
        "fingerprint": fingerprint(clips),
        "clips": len(clips),
        "speakers": clips["speaker"].nunique(),
        "classes": class_order(clips["emotion"]),
        "n_folds": n_folds,
        "family": recipe.family,
        "features": asdict(recipe.features),
        **recipe.describe(clips),
        "inputs": digest.hexdigest()[:16],
        "versions": package_versions(),
    }


def parts_folder(facts: dict) -> str:
    """Where in the run folder the parts of :func:`describe` are kept."""
    return f"parts/{hashlib.sha256(dump_json(facts).encode()).hexdigest()[:12]}"


def name_run(clips: pd.DataFrame, model: str, protocol: str) -> str:
    """Name of the run folder where none is given, such as ``cv-tess-cnn``."""
    parts = ["cv", *sorted(clips["corpus"].unique()), model]
    return "-".join(parts if protocol == PROTOCOLS[0] else [*parts, protocol])


def _n_folds(clips: pd.DataFrame, protocol: str) -> int:
    """Folds by speaker; the other protocols have one split per seed."""
    return count_folds(clips) if protocol == PROTOCOLS[0] else 1


def _choose_folds(clips: pd.DataFrame, protocol: str, folds: Sequence[int] | None) -> list[int]:
    known = range(1, _n_folds(clips, protocol) + 1)
    wrong = sorted(set(folds or ()) - set(known))
    if wrong:
        raise UserError(f"folds {wrong}: expected some of 1 to {known[-1]} under {protocol}")
    return sorted(set(folds or known))
