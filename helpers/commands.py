"""What the commands of ``ser`` do; :mod:`helpers.cli` has their options."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from helpers.errors import UserError
from helpers.runs import atomic_write, find_run, open_run, show_progress

_SHOWN_A_CHECK = 50
_SOME_FAILED = 3
_MOST_DRAWN = 20


def run(arguments: argparse.Namespace) -> int:
    """Run the notebooks with papermill."""
    from helpers.pipeline import run_notebooks

    return run_notebooks(
        corpora=arguments.corpora,
        run_name=arguments.run,
        start=arguments.start,
        only=arguments.only,
        parameters=_label_parameters(arguments) | dict(arguments.parameters or ()),
        base=arguments.base,
    )


def _label_parameters(arguments: argparse.Namespace) -> dict[str, str]:
    """Parameters of notebook 01 for the options about labels that were given."""
    given = {
        "PATTERN": arguments.pattern,
        "EMOTIONS": arguments.emotions,
        "MAP": arguments.map,
        "RATERS": arguments.raters.replace("refuse", ""),
        "WINDOW_S": str(arguments.window or ""),
    }
    return {name: value for name, value in given.items() if value}


def _reading(arguments: argparse.Namespace):
    from helpers.corpora import Reading

    return Reading(arguments.pattern, arguments.emotions, arguments.map, arguments.raters)


def predict(arguments: argparse.Namespace) -> int:
    """Estimate the emotion in recordings.

    A file that cannot be used is a row with its error, and makes the exit code 3. One in which
    nobody can be heard to speak gets no emotion, but a reason.
    """
    from helpers.corpora import load_manifest
    from helpers.models.prediction import list_audio, to_records

    paths = list_audio(arguments.paths)
    files = [sys.stdin.buffer if str(path) == "-" else path for path in paths]
    # Wrong files are named before TensorFlow starts and before an hour of work.
    if arguments.labels:
        load_manifest(arguments.labels)
    predictor = _open_predictor(_find_model(arguments))
    channel = {"mean": None, "left": 0, "right": 1}[arguments.channel]
    # Standard input stays here; a cluster gets paths.
    follow = predictor.follow_files if Path("-") in paths else predictor.follow_far
    table, windows = follow(files, channel=channel)
    _write_csv(table, arguments.csv, excel=arguments.excel)
    _write_csv(windows, arguments.timeline, excel=arguments.excel)
    if arguments.json:
        print(*map(json.dumps, to_records(table)), sep="\n")
    else:
        shown = table.drop(columns="error")
        print(shown.to_string(index=False, na_rep="", float_format="{:.2f}".format))
    if arguments.timeline or arguments.plot:
        _report_timeline(windows, predictor.classes, arguments.plot)
    for row in table[table["error"] != ""].itertuples():
        print(f"ser: {row.error}", file=sys.stderr)
    if arguments.labels:
        _report(table, arguments.labels, predictor.classes)
    return 0 if (table["error"] == "").all() else _SOME_FAILED


def _find_model(arguments: argparse.Namespace) -> Path:
    """The model that was asked for; a wrong one is named before anything starts."""
    from helpers.models.modelfile import read_card
    from helpers.models.prediction import find_model

    if arguments.run:
        model = find_run(arguments.run).require("model.keras", made_by="05_train_cnn")
    else:
        model = Path(arguments.model or find_model())
    read_card(model)
    return model


def _open_predictor(model: Path):
    from helpers.models.prediction import Predictor
    from helpers.models.training import prepare_keras

    prepare_keras(0)  # the same kernels as in the notebooks, without TensorFlow's chatter
    predictor = Predictor(model)
    print(f"ser: {predictor.introduce()}", file=sys.stderr)
    return predictor


def _report_timeline(windows, classes: list[str], plot: Path | None) -> None:
    """Say how the emotion changed in each file, and draw it."""
    from helpers.report.timeline import describe_spells, save_timelines

    by_file = list(windows.groupby("file", sort=False))[:_MOST_DRAWN]
    for name, rows in by_file:
        print(f"ser: {name}: {describe_spells(rows)}", file=sys.stderr)
    if plot and by_file:
        save_timelines(by_file, classes, plot)


def live(arguments: argparse.Namespace) -> int:
    """Say what the microphone hears, while it hears it.

    Stop with Ctrl+C.
    """
    from helpers.app.live import Live
    from helpers.app.screen import watch
    from helpers.sound.microphone import Microphone

    predictor = _open_predictor(_find_model(arguments))
    predictor.warm_up()
    device = arguments.device
    with Microphone(int(device) if device and device.isdecimal() else device) as microphone:
        talk = Live(predictor, sr=microphone.rate)
        watch(talk, microphone, seconds=arguments.seconds)
    if arguments.save:
        import soundfile

        from helpers.sound.audio import SAMPLE_RATE

        soundfile.write(arguments.save, talk.sound, SAMPLE_RATE)
        print(f"ser: wrote {talk.heard_s:.1f} s to {arguments.save}", file=sys.stderr)
    _write_csv(talk.timeline, arguments.csv, excel=arguments.excel)
    return 0


def serve_app(arguments: argparse.Namespace) -> int:
    """Open the panel as a web page, for this machine.

    Upload a recording or speak into the browser's microphone. Each visitor has a kernel of their
    own, which ends when it was idle for ten minutes; nothing is kept.
    """
    from helpers.app.web import serve

    serve(_find_model(arguments), port=arguments.port)
    return 0


def serve_api(arguments: argparse.Namespace) -> int:
    """Answer other programs over HTTP: POST a recording to /predict.

    The page /docs describes itself. Each worker is a process with a model of its own.
    """
    from helpers.app.serve import serve

    serve(_find_model(arguments).resolve(), port=arguments.port, workers=arguments.workers)
    return 0


def _load_clips(arguments: argparse.Namespace):
    """Clips of corpora that can be decoded; what is left out and what is computed is said."""
    from helpers.corpora import load_corpora
    from helpers.sound.inspection import inspect_clips

    table = load_corpora(arguments.corpora or "demo", _reading(arguments))
    clips, rejected = inspect_clips(table, window_s=arguments.window)
    for row in rejected.itertuples():
        print(f"left out: {row.error}", file=sys.stderr)
    show_progress()
    return clips


def cross_validate(arguments: argparse.Namespace) -> int:
    """Score a model on every speaker: all folds, several seeds."""
    from helpers.evaluation.groups import format_summary
    from helpers.experiments import crossval
    from helpers.models.recipes import RECIPES

    if arguments.model not in RECIPES:
        raise UserError(f"model {arguments.model!r}: expected one of {', '.join(RECIPES)}")
    options = ("protocol", "seeds", "folds", "jobs", "epochs")
    chosen = {name: getattr(arguments, name) for name in options}
    if arguments.epochs:
        RECIPES[arguments.model].with_epochs(arguments.epochs)  # of svm it is refused here
    if arguments.run:
        open_run(arguments.run)  # a name that is none is said before the clips are decoded
    clips = _load_clips(arguments)
    run = open_run(arguments.run or crossval.name_run(clips, arguments.model, arguments.protocol))
    crossval.cross_validate(clips, arguments.model, run=run, **chosen)
    print(format_summary(run.read_json("cv.json", made_by="")))
    print(f"cv.json and predictions.csv are in {run.folder}")
    return 0


def compare(arguments: argparse.Namespace) -> int:
    """Say whether one run's model is better than another's.

    They are compared on the test set. Exit code 1 when the second is worse by more than its 95 %
    interval.
    """
    from helpers.evaluation.comparison import compare_runs, format_comparison

    first, second = find_run(arguments.first), find_run(arguments.second)
    found = compare_runs(first, second)
    print(format_comparison(found, first.name, second.name))
    return int(found["verdict"] == "worse")


def compute_features(arguments: argparse.Namespace) -> int:
    """Compute features, here or on a cluster, and keep them for the notebooks.

    They lie in outputs/.cache. A call that was stopped is carried on by the next one. With --csv,
    name one family that has one row per clip.
    """
    import pandas as pd

    from helpers.features.extract import extract_features
    from helpers.features.families import FRAME_FAMILIES

    families = [name.strip() for name in arguments.family.split(",")]
    rows = [name for name in families if name not in FRAME_FAMILIES]
    if arguments.csv and len(rows) != 1:
        expected = "expected one family with one row per clip in --family"
        raise UserError(f"--csv {arguments.csv}: {expected}, got {len(rows)}")
    clips = _load_clips(arguments)
    found: Any = extract_features(clips, family=families)
    for name, values in found.items():
        print(f"{name}: {' × '.join(map(str, values.shape))}")
    if arguments.csv:
        facts = clips[["path", "corpus", "speaker", "emotion"]]
        table = pd.concat([facts, found[rows[0]]], axis=1)
        _write_csv(table, arguments.csv, excel=arguments.excel)
    return 0


def list_corpora(arguments: argparse.Namespace) -> int:
    """Clips, speakers and licence of each corpus; `ser corpora` alone does the same."""
    from helpers.corpora import CORPORA
    from helpers.corpora.overview import survey_corpora

    table = survey_corpora(arguments.names, _reading(arguments))
    _write_csv(table, arguments.csv, excel=arguments.excel)
    for part in ("clips", "speakers"):
        expected = ("/" + table[f"expected_{part}"].astype("string")).fillna("")
        table[part] = table[part].astype("string") + expected
    print(_align(table[["corpus", "clips", "speakers", "state", "licence"]]))
    missing = table.loc[table["state"] == "not there", "corpus"]
    if len(missing):
        print(f"not there: {', '.join(missing)}. `ser corpora get NAME` fetches one or says how")
    for row in table.itertuples():
        if arguments.names and row.emotions:
            print(f"\n{row.corpus}: {row.emotions}", *filter(None, [row.odd]), sep="\n  ")
        if row.corpus in CORPORA and (arguments.names or arguments.cite):
            corpus = CORPORA[row.corpus]
            print(f"\n{row.corpus}: {corpus.citation}\n  {corpus.url}")
    return 0


def validate_corpora(arguments: argparse.Namespace) -> int:
    """Decode every clip and list what is odd or wrong.

    Exit code 1 with any fault: missing, unreadable, damaged, conflict (one file under two
    emotions). Exit code 0 with notes only: unparsed, copy, repeated, duplicate, short (under
    0.3 s), quiet (its peak is below -40 dBFS).
    """
    import pandas as pd

    from helpers.corpora import parse_names
    from helpers.sound.check import FAULTS, NOTES, validate_corpus

    names = parse_names(arguments.names)
    checked = [validate_corpus(name, _reading(arguments)) for name in names]
    table = pd.concat([found for found, _ in checked], ignore_index=True)
    # Two parts of one folder meet the same stray files: report each once.
    table = table[(table["check"] != "unparsed") | ~table.duplicated(["path", "check"])]
    _write_csv(table, arguments.csv, excel=arguments.excel)
    counts = table["check"].value_counts().reindex([*FAULTS, *NOTES]).dropna().astype(int)
    if len(table):
        print(_align(table.groupby("check", sort=False).head(_SHOWN_A_CHECK)))
    for check, n in counts[counts > _SHOWN_A_CHECK].items():
        print(f"… and {n - _SHOWN_A_CHECK} more of {check}; --csv OUT has all")
    found = ", ".join(f"{n} {check}" for check, n in counts.items()) or "nothing to report"
    print(f"{sum(n for _, n in checked)} clips of {', '.join(names)}: {found}")
    return int(table["check"].isin(FAULTS).any())


def get_corpus(arguments: argparse.Namespace) -> int:
    """Download a corpus.

    What is complete is left as it is. Exit code 1 when clips are missing after all.
    """
    from helpers.corpora.download import download_corpus
    from helpers.corpora.overview import survey_corpora

    folder = download_corpus(arguments.name)
    (row,) = survey_corpora([arguments.name]).itertuples()
    print(f"{row.corpus} is in {folder}: {row.clips} clips, {row.state}")
    return 0 if row.state == "complete" else 1


def _align(table) -> str:
    """Columns of text, to the left; pandas alone has them to the right."""

    def pad(column):
        return column.str.ljust(max(column.str.len().max(), len(column.name)))

    text = table.astype(str).apply(pad).to_string(index=False, justify="left")
    return "\n".join(line.rstrip() for line in text.splitlines())


def _write_csv(table, path: Path | None, *, excel: bool) -> None:
    """Write the table to ``path``, if one was given."""
    if path:
        # Excel takes a CSV for UTF-8 only with a signature.
        signed = excel or sys.platform == "win32"
        encoding = "utf-8-sig" if signed else "utf-8"
        with atomic_write(path) as temporary:
            table.to_csv(temporary, index=False, encoding=encoding, errors="surrogateescape")
        print(f"ser: wrote {len(table)} rows to {path}", file=sys.stderr)


def _report(table, labels: Path, classes: list[str]) -> None:
    from helpers.evaluation.comparison import compare_with_labels
    from helpers.evaluation.scores import confusion_counts, score_by_emotion, uar

    clips, notes = compare_with_labels(table, labels, classes)
    print("".join(f"ser: {note}\n" for note in notes), file=sys.stderr, end="")
    if clips.empty:
        raise UserError(f"--labels {labels}: none of the files could be scored")
    counts = confusion_counts(clips["emotion"], clips["predicted"], classes)
    print(f"\nAgainst {labels}: {len(clips)} clips of {clips['speaker'].nunique()} speakers")
    print(f"UAR {uar(counts):.3f}, accuracy {(clips['emotion'] == clips['predicted']).mean():.3f}")
    print(score_by_emotion(counts, classes).to_string(float_format="{:.2f}".format))
