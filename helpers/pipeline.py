"""The seven notebooks in a row, without a browser: papermill, a run folder, an index page."""

from __future__ import annotations

import ast
import os
import re
import shutil
import time
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from helpers.corpora import CORPORA, Reading, load_corpora, parse_names
from helpers.corpora.manifest import name_list
from helpers.errors import UserError
from helpers.parallel import KEEP_MEMORY
from helpers.report.pages import write_index
from helpers.runs import (
    NOTEBOOKS,
    PROJECT_ROOT,
    Run,
    data_home,
    find_run,
    one_at_a_time,
    open_run,
    outputs_home,
    package_versions,
)
from helpers.splits import check_enough

NOTEBOOK_FOLDER = PROJECT_ROOT / "notebooks"
_CELL_TIMEOUT_S = 3600
_NOT_STARTED = "Kernel died before replying"
# When all clean-up is done, a kernel spends two seconds more on taking TensorFlow apart.
_LEAVE = "__import__('atexit').register(__import__('os')._exit, 0)"


def run_notebooks(
    *,
    corpora: str | None,
    run_name: str | None,
    start: str | None,
    only: str | None,
    parameters: dict[str, str],
    base: str | None = None,
) -> int:
    """Execute the notebooks and say how it went; returns 0, or 1 if a cell failed.

    Parameters
    ----------
    corpora : str or None
        As ``--corpora``; None is ``demo``, or what the run was made with when it does not start
        at 01.
    run_name : str or None
        Folder under ``outputs/``; None makes it from the corpora.
    start, only : str or None
        Number or name of a notebook; at most one of the two.
    parameters : dict of str to str
        Each goes to every notebook that has one of that name, and is read as its default's type.
    base : str, optional
        Run whose results before ``start`` are copied into a new run, for an experiment.

    Raises
    ------
    UserError
        Unknown notebook, parameter or corpus, a value of the wrong type, or a corpus that is not
        there: all before the first notebook starts.
    """
    steps = _choose_steps(start, only)
    given = dict(parameters)
    corpora = given.pop("CORPORA", corpora)
    run_name = given.pop("RUN", run_name)
    names = parse_names(corpora or "demo")
    run = open_run(run_name or _default_name(names))
    if steps[0] == NOTEBOOKS[0]:
        if given.get("MAP") and os.path.isfile(given["MAP"]):
            given["MAP"] = os.path.abspath(given["MAP"])
        usual = {"PATTERN": "", "EMOTIONS": "", "MAP": "", "RATERS": "refuse"}
        reading = Reading(*(given.get(name, value) for name, value in usual.items()))
        # Before the first notebook starts: a missing corpus is explained here, in the terminal.
        check_enough(load_corpora(names, reading))
        given["CORPORA"] = ",".join(names)
    elif corpora:
        made = find_run(base) if base else run
        before = made.read_json("data.json", made_by=NOTEBOOKS[0])["corpora"]
        if before != names:
            raise UserError(
                f"run {run.name!r} was made with {','.join(before)}, not {','.join(names)}. "
                "Start at 01, or name another run with --run."
            )
    given["RUN"] = run.name
    if given.get("FILE"):
        # Notebooks run in notebooks/; the terminal means its own folder.
        given["FILE"] = os.path.abspath(given["FILE"])
    known = {step: read_parameters(step) for step in steps}
    values = _read_values(given, known)
    if base:
        _copy_base(base, run_name, steps[0])

    with one_at_a_time(run.folder):  # else the results of two calls would be mixed
        record = _open_record(run, steps, values)
        print(f"run {run.name}: {len(steps)} notebooks, corpora {record['corpora']}")
        for place, step in enumerate(steps, 1):
            print(f"[{place}/{len(steps)}] {step} … ", end="", flush=True)
            chosen = {name: value for name, value in values.items() if name in known[step]}
            error = _run_step(run, record, step, chosen)
            if error:
                copy = run.path(f"{step}.ipynb")
                print(f"\n{error}\n\nThe executed copy, up to that cell: {copy}")
                break
        print(f"everything is listed in {write_index(run)}")
    return 1 if error else 0


def read_parameters(step: str) -> dict[str, object]:
    """Parameters of a notebook with their default values, which are literals."""
    from papermill import inspect_notebook

    found = inspect_notebook(str(NOTEBOOK_FOLDER / f"{step}.ipynb"))
    return {name: ast.literal_eval(item["default"]) for name, item in found.items()}


def _choose_steps(start: str | None, only: str | None) -> list[str]:
    text = only or start
    if not text:
        return list(NOTEBOOKS)
    found = [step for step in NOTEBOOKS if step == text or step[:2] == text.zfill(2)]
    if not found:
        raise UserError(f"notebook {text!r}: expected one of {', '.join(NOTEBOOKS)}")
    return found if only else list(NOTEBOOKS[NOTEBOOKS.index(found[0]) :])


def _copy_base(base: str, run_name: str | None, first: str) -> None:
    """Fill a new run with the results of another one that notebook ``first`` builds on."""
    if not run_name or first == NOTEBOOKS[0]:
        raise UserError(f"--base {base}: name the new run with --run, and begin later: --from 05")
    source, run = find_run(base), open_run(run_name)
    if run.folder.exists():
        raise UserError(f"--run {run_name}: {run.folder} is there already; choose another name")
    done = NOTEBOOKS[: NOTEBOOKS.index(first)]
    made_later = [f"{step[:2]}_*" for step in NOTEBOOKS if step not in done]
    shutil.copytree(source.folder, run.folder, ignore=shutil.ignore_patterns(*made_later))
    record = run.read_json("run.json", made_by=NOTEBOOKS[0])
    kept = {step: item for step, item in record["notebooks"].items() if step in done}
    run.save_json(record | {"notebooks": kept}, "run.json")


def _default_name(names: list[str]) -> str:
    """Name of a run after its corpora; with a number where other recordings have that name."""
    parts = [name if name in CORPORA else name_list(Path(name)) for name in names]
    name = re.sub(r"[^\w.-]+", "-", "-".join(parts)).strip("-.")[:80] or "own"
    number = 1
    while True:
        number += 1
        run = open_run(name)
        if not run.path("run.json").exists():
            return name
        if run.read_json("run.json", made_by=NOTEBOOKS[0])["corpora"] == ",".join(names):
            return name
        name = f"{name.removesuffix(f'-{number - 1}')}-{number}"


def _read_values(given: dict[str, str], known: dict[str, dict]) -> dict[str, object]:
    """The values of parameters, each of the type of its default in the notebooks."""
    defaults = {name: value for found in known.values() for name, value in found.items()}
    unknown = sorted(set(given) - set(defaults))
    if unknown:
        raise UserError(
            f"parameter {unknown[0]}: no notebook of this run has one; "
            f"known are {', '.join(sorted(defaults))}"
        )
    return {name: _read_value(name, text, defaults[name]) for name, text in given.items()}


def _read_value(name: str, text: str, default: object) -> object:
    if isinstance(default, str):
        return text
    value = text
    with suppress(ValueError, SyntaxError, TypeError):  # stays text, and is refused below
        value = ast.literal_eval(text.strip())
    # Not isinstance: True is an int as well.
    if type(value) is type(default) or (type(value) is int and type(default) is float):
        return value
    kind = type(default).__name__
    raise UserError(f"parameter {name}={value!r}: expected {kind}, such as the default {default!r}")


def _execute(step: str, run: Run, parameters: dict[str, object]) -> str | None:
    """Run one notebook; return what went wrong, or None."""
    import papermill

    os.environ.update(
        PYTHONHASHSEED="0",
        JUPYTER_PREFER_ENV_PATH="1",
        # Notebooks run in notebooks/, where a relative folder would mean something else.
        SER_DATA=str(data_home()),
        SER_OUTPUTS=str(outputs_home().resolve()),
        **KEEP_MEMORY,
    )
    # The Agg backend would drop every inline figure without a word.
    os.environ.pop("MPLBACKEND", None)
    execute = partial(
        papermill.execute_notebook,
        NOTEBOOK_FOLDER / f"{step}.ipynb",
        run.path(f"{step}.ipynb"),
        parameters=parameters,
        kernel_name="python3",
        progress_bar=False,
        execution_timeout=_CELL_TIMEOUT_S,
        cwd=str(NOTEBOOK_FOLDER),
        # What it says of connections and of its end would land between the progress lines.
        extra_arguments=["--IPKernelApp.log_level=CRITICAL", f"--IPKernelApp.exec_lines={_LEAVE}"],
    )
    try:
        try:
            execute()
        except RuntimeError as error:
            if _NOT_STARTED not in str(error):
                raise
            execute()  # another program had taken its port; no cell has run yet
    except papermill.PapermillExecutionError as error:
        return f"{step}, cell {error.exec_count}: {error.ename}: {error.evalue}"
    except Exception as error:  # a dead kernel, a timeout: whatever it is, the run stops with it
        return f"{step}: {type(error).__name__}: {error}"
    return None


def _open_record(run: Run, steps: list[str], parameters: dict[str, object]) -> dict:
    """``run.json``: what is run with what; a later start keeps what was run before."""
    before = {}
    if steps[0] != NOTEBOOKS[0] and run.path("run.json").exists():
        before = run.read_json("run.json", made_by=NOTEBOOKS[0])
    record = {
        "run": run.name,
        "corpora": parameters.get("CORPORA") or before.get("corpora"),
        "parameters": before.get("parameters", {}) | parameters,
        "seed": parameters.get("SEED", before.get("seed", 0)),
        "versions": package_versions(),
        "started": _now(),
        "status": "running",
        "notebooks": before.get("notebooks", {}),
    }
    run.save_json(record, "run.json")
    return record


def _run_step(run: Run, record: dict, step: str, parameters: dict[str, object]) -> str | None:
    """Run one notebook and note in ``run.json`` how it went; returns what went wrong, or None."""
    begin = time.perf_counter()
    error: str | None = "stopped from the keyboard"  # if the next line does not come back
    try:
        error = _execute(step, run, parameters)
    finally:
        seconds = time.perf_counter() - begin
        outcome = "failed" if error else "done"
        done = {"status": outcome, "seconds": round(seconds, 1), "executed": f"{step}.ipynb"}
        record["notebooks"][step] = done | ({"error": error} if error else {})
        n_done = sum(item["status"] == "done" for item in record["notebooks"].values())
        partial = "done" if n_done == len(NOTEBOOKS) else "partial"
        record["status"] = "failed" if error else partial
        if run.path("data.json").exists():
            record["data"] = run.read_json("data.json", made_by=NOTEBOOKS[0])
        record["finished"] = _now()
        run.save_json(record, "run.json")
    print(f"{outcome} in {seconds:.1f} s", flush=True)
    return error


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
