"""``ser``: the notebooks from a terminal, predictions without one, and what corpora there are."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from helpers.errors import UserError
from helpers.runs import atomic_write, open_run, show_progress

_SHOWN_A_CHECK = 50
RATERS = ("refuse", "share")  # of helpers.corpora.labels, which takes a second to import


def main(argv: list[str] | None = None) -> int:
    """Entry point of the command ``ser``; returns the exit code.

    What a person can put right is said in a line, with code 2; our own errors keep their traceback.
    """
    given = sys.argv[1:] if argv is None else argv
    known = {"list", "validate", "get", "-h", "--help"}
    if given[:1] == ["corpora"] and not known & set(given[1:2]):
        given = ["corpora", "list", *given[1:]]
    try:
        arguments = build_parser().parse_args(given)
        code = arguments.call(arguments)
        sys.stdout.flush()  # here, where a closed pipe is understood, and not at exit
        return code
    except BrokenPipeError:  # the reader, such as `head`, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (UserError, OSError) as error:
        if isinstance(error, OSError) and error.strerror is None:
            raise  # not of the system: no full disk, no missing permission
        print(f"ser: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("ser: stopped", file=sys.stderr)
        return 130


def build_parser() -> argparse.ArgumentParser:
    """The commands of ``ser`` and their options."""
    parser = argparse.ArgumentParser(prog="ser", description="Speech emotion recognition.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    csv = argparse.ArgumentParser(add_help=False)
    csv.add_argument("--csv", type=_output_file, metavar="OUT", help="write the table here as well")
    corpora = argparse.ArgumentParser(add_help=False)
    corpora.add_argument(
        "--corpora",
        help="comma-separated corpora (`ser corpora` lists them), a manifest.csv, or a folder of "
        "your own (data/README.md says which are understood); demo if not given",
    )
    labels = argparse.ArgumentParser(add_help=False)
    labels.add_argument(
        "--pattern",
        default="",
        metavar="'{speaker}_{emotion}_{}'",
        help="labels in the file names of a folder; {} is any text",
    )
    labels.add_argument("--emotions", default="", metavar="angry,happy", help="keep these only")
    labels.add_argument(
        "--map",
        default="",
        metavar="anger=angry,joy=happy",
        help="rename emotions; or a file with one such pair per line",
    )
    labels.add_argument(
        "--raters",
        default="refuse",
        choices=RATERS,
        help="rows of a list that disagree about a clip: refuse them (if not given), or share it",
    )

    run = _add(commands, "run", _run, corpora, labels)
    run.add_argument("--run", help="name of the folder under outputs/; after the corpora if absent")
    part = run.add_mutually_exclusive_group()
    part.add_argument("--from", dest="start", metavar="NN", help="begin at this notebook, e.g. 04")
    part.add_argument("--only", metavar="NN", help="run this notebook alone, e.g. 05")
    run.add_argument(
        "-p",
        dest="parameters",
        metavar="NAME=VALUE",
        type=_parameter,
        action="append",
        help="set a notebook parameter, e.g. -p EPOCHS=75; may be repeated",
    )

    predict = _add(commands, "predict", _predict, csv)
    predict.add_argument("paths", nargs="+", metavar="FILE|FOLDER")
    predict.add_argument("--model", help="a model.keras; that of the latest run if not given")
    predict.add_argument("--labels", type=Path, help="CSV path,emotion: report how right it was")

    cv = _add(commands, "cv", _cross_validate, corpora, labels)
    cv.add_argument("--model", required=True, help="svm, or a network of 04 and 05 such as cnn")
    cv.add_argument("--protocol", default="speaker-independent", help="%(default)s if not given")
    cv.add_argument("--seeds", type=int, default=1, metavar="N", help="how many; 1 if not given")
    cv.add_argument("--folds", metavar="1,2", help="these only")
    cv.add_argument("--epochs", type=int, metavar="N", help="instead of the recipe's")
    cv.add_argument("--jobs", type=int, default=-1, metavar="N", help="at once; one per core")
    cv.add_argument("--run", help="folder under outputs/; cv-<corpora>-<model> if not given")

    compare = _add(commands, "compare", _compare)
    compare.add_argument("first", metavar="RUN", help="a folder, or its name in outputs/")
    compare.add_argument("second", metavar="RUN", help="the one to be judged")

    features = _add(commands, "features", _compute_features, corpora, labels, csv)
    families = "logmel,mfcc40,vector162,functionals"
    features.add_argument("--family", default=families, help="%(default)s if not given")
    features.add_argument("--scheduler", metavar="tcp://…", help="a Dask scheduler to compute on")

    group = commands.add_parser("corpora", help="which corpora are there, and are they sound")
    commands = group.add_subparsers(required=True, metavar="list | validate | get")
    listing = _add(commands, "list", _list_corpora, labels, csv)
    listing.add_argument("names", nargs="*", metavar="NAME|PATH", help="these only, with citation")
    listing.add_argument("--cite", action="store_true", help="the citation of each corpus as well")
    validate = _add(commands, "validate", _validate_corpora, labels, csv)
    validate.add_argument("names", nargs="+", metavar="NAME|PATH")
    get = _add(commands, "get", _get_corpus)
    get.add_argument("name", metavar="NAME")
    get.add_argument("--source", choices=("publisher", "kaggle"), default="publisher")
    get.add_argument("--force", action="store_true", help="again, although it is complete")
    return parser


def _add(commands, name: str, call, *shared: argparse.ArgumentParser) -> argparse.ArgumentParser:
    """Add a command that its docstring describes; the first line is for the list of commands."""
    line = call.__doc__.partition("\n")[0].removesuffix(".")
    command = commands.add_parser(name, help=line, description=call.__doc__, parents=shared)
    command.set_defaults(call=call)
    return command


def _parameter(text: str) -> tuple[str, str]:
    """``NAME=VALUE``; what the value means depends on the notebook's default."""
    name, equals, value = text.partition("=")
    if not equals or not name.isidentifier():
        raise UserError(f"-p {text}: expected NAME=VALUE, such as -p EPOCHS=75")
    return name, value


def _output_file(text: str) -> Path:
    """``OUT`` of ``--csv``: what cannot be written is said before an hour of work."""
    path = Path(text)
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.is_dir() or not os.access(path.parent, os.W_OK):
        raise UserError(f"--csv {path}: expected the name of a file that can be written")
    return path


def _run(arguments: argparse.Namespace) -> int:
    """Run the notebooks with papermill."""
    from helpers.pipeline import run_notebooks

    return run_notebooks(
        corpora=arguments.corpora,
        run_name=arguments.run,
        start=arguments.start,
        only=arguments.only,
        parameters=_label_parameters(arguments) | dict(arguments.parameters or ()),
    )


def _label_parameters(arguments: argparse.Namespace) -> dict[str, str]:
    """Parameters of notebook 01 for the options about labels that were given."""
    names = {"PATTERN": "pattern", "EMOTIONS": "emotions", "MAP": "map", "RATERS": "raters"}
    given = {name: getattr(arguments, option) for name, option in names.items()}
    return {name: value for name, value in given.items() if value not in ("", "refuse")}


def _reading(arguments: argparse.Namespace):
    from helpers.corpora import Reading

    return Reading(arguments.pattern, arguments.emotions, arguments.map, arguments.raters)


def _predict(arguments: argparse.Namespace) -> int:
    """Estimate the emotion in recordings."""
    from helpers.corpora import load_manifest
    from helpers.models.modelfile import read_card
    from helpers.models.prediction import Predictor, find_model, list_audio
    from helpers.models.training import prepare_keras

    files = list_audio(arguments.paths)
    # Wrong files are named before TensorFlow starts and before an hour of work.
    if arguments.labels:
        load_manifest(arguments.labels)
    model = arguments.model or find_model()
    read_card(model)
    prepare_keras(0)  # the same kernels as in the notebooks, without TensorFlow's chatter
    predictor = Predictor(model)
    if predictor.is_synthetic:
        about = "learned from the synthetic demo voices: it says nothing about real speech"
        print(f"ser: {predictor.path} {about}", file=sys.stderr)
    table = predictor.predict_files(files)
    _write_csv(table, arguments.csv)
    shown = table.drop(columns="error")
    print(shown.to_string(index=False, na_rep="", float_format="{:.2f}".format))
    for row in table[table["error"] != ""].itertuples():
        print(f"ser: {row.error}", file=sys.stderr)
    if arguments.labels:
        _report(table, arguments.labels, predictor.classes)
    return 0 if (table["error"] == "").any() else 1


def _load_clips(arguments: argparse.Namespace, *, scheduler: str | None = None):
    """Clips of corpora that can be decoded; what is left out and what is computed is said."""
    from helpers.corpora import load_corpora
    from helpers.parallel import KEEP_MEMORY
    from helpers.sound.audio import inspect_clips

    os.environ.update(KEEP_MEMORY)  # for the processes that decode
    table = load_corpora(arguments.corpora or "demo", _reading(arguments))
    clips, rejected = inspect_clips(table, scheduler=scheduler)
    for row in rejected.itertuples():
        print(f"left out: {row.error}", file=sys.stderr)
    show_progress()
    return clips


def _cross_validate(arguments: argparse.Namespace) -> int:
    """Score a model on every speaker: all folds, several seeds."""
    from helpers.experiments import crossval

    chosen = {name: getattr(arguments, name) for name in ("protocol", "seeds", "jobs", "epochs")}
    crossval.check_request(arguments.model, **chosen)
    folds = crossval.parse_folds(arguments.folds)
    if arguments.run:
        open_run(arguments.run)  # a name that is none is said before the clips are decoded
    clips = _load_clips(arguments)
    run = open_run(arguments.run or crossval.name_run(clips, arguments.model, arguments.protocol))
    return crossval.report(clips, arguments.model, folds=folds, run=run, **chosen)


def _compare(arguments: argparse.Namespace) -> int:
    """Say whether one run's model is better than another's.

    They are compared on the test side. Exit code 1 when the second is worse by more than its 95 %
    interval.
    """
    from helpers.evaluation.comparison import compare_runs, format_comparison
    from helpers.runs import find_run

    first, second = find_run(arguments.first), find_run(arguments.second)
    found, notes = compare_runs(first, second)
    print(format_comparison(found, first.name, second.name), *notes, sep="\n")
    return int(found["verdict"] == "worse")


def _compute_features(arguments: argparse.Namespace) -> int:
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
    clips = _load_clips(arguments, scheduler=arguments.scheduler)
    found = extract_features(clips, family=families, scheduler=arguments.scheduler)
    for name, values in found.items():
        print(f"{name}: {' × '.join(map(str, values.shape))}")
    if arguments.csv:
        facts = clips[["path", "corpus", "speaker", "emotion"]]
        _write_csv(pd.concat([facts, found[rows[0]]], axis=1), arguments.csv)
    return 0


def _list_corpora(arguments: argparse.Namespace) -> int:
    """Clips, speakers, hours and licence of each corpus; `ser corpora` alone does the same."""
    from helpers.corpora import CORPORA
    from helpers.sound.check import survey_corpora

    table = survey_corpora(arguments.names, _reading(arguments))
    _write_csv(table, arguments.csv)
    for part in ("clips", "speakers"):
        expected = ("/" + table[f"expected_{part}"].astype("string")).fillna("")
        table[part] = table[part].astype("string") + expected
    table["hours"] = table["hours"].map("{:.2f}".format)
    print(_align(table[["corpus", "clips", "speakers", "hours", "state", "licence"]]))
    missing = table.loc[table["state"] == "not there", "corpus"]
    if len(missing):
        print(f"not there: {', '.join(missing)}. `ser corpora get NAME` fetches one or says how")
    if arguments.names or arguments.cite:
        for name in table.loc[table["corpus"].isin(CORPORA), "corpus"]:
            print(f"\n{name}: {CORPORA[name].citation}\n  {CORPORA[name].url}")
    return 0


def _validate_corpora(arguments: argparse.Namespace) -> int:
    """Decode every clip and list what is odd or wrong.

    Exit code 1 with any fault: missing, unreadable, silent, conflict (one sound under two
    emotions), mislabelled-by-folder. Exit code 0 with notes only: unparsed, copy, duplicate, short
    (under 0.3 s), quiet (95 % of its frames below -50 dBFS), clipped.
    """
    import pandas as pd

    from helpers.corpora import parse_names
    from helpers.parallel import KEEP_MEMORY
    from helpers.sound.check import FAULTS, NOTES, validate_corpus

    os.environ.update(KEEP_MEMORY)  # for the processes that decode
    names = parse_names(arguments.names)
    checked = [validate_corpus(name, _reading(arguments)) for name in names]
    table = pd.concat([found for found, _ in checked], ignore_index=True)
    # Two parts of one folder meet the same stray files: report each once.
    table = table[(table["check"] != "unparsed") | ~table.duplicated(["path", "check"])]
    _write_csv(table, arguments.csv)
    counts = table["check"].value_counts().reindex([*FAULTS, *NOTES]).dropna().astype(int)
    if len(table):
        print(_align(table.groupby("check", sort=False).head(_SHOWN_A_CHECK)))
    for check, n in counts[counts > _SHOWN_A_CHECK].items():
        print(f"… and {n - _SHOWN_A_CHECK} more of {check}; --csv OUT has all")
    found = ", ".join(f"{n} {check}" for check, n in counts.items()) or "nothing to report"
    print(f"{sum(n for _, n in checked)} clips of {', '.join(names)}: {found}")
    return int(table["check"].isin(FAULTS).any())


def _get_corpus(arguments: argparse.Namespace) -> int:
    """Download a corpus.

    What is complete is left as it is. Exit code 1 when clips are missing after all.
    """
    from helpers.corpora.download import download_corpus
    from helpers.sound.check import survey_corpora

    folder = download_corpus(arguments.name, source=arguments.source, force=arguments.force)
    (row,) = survey_corpora([arguments.name]).itertuples()
    print(f"{row.corpus} is in {folder}: {row.clips} clips, {row.state}")
    return 0 if row.state == "complete" else 1


def _align(table) -> str:
    """Columns of text, to the left; pandas alone has them to the right."""

    def pad(column):
        return column.str.ljust(max(column.str.len().max(), len(column.name)))

    text = table.astype(str).apply(pad).to_string(index=False, justify="left")
    return "\n".join(line.rstrip() for line in text.splitlines())


def _write_csv(table, path: Path | None) -> None:
    """Write the table where ``--csv`` says, if it was given."""
    if path:
        with atomic_write(path) as temporary:
            table.to_csv(temporary, index=False)
        print(f"ser: wrote {len(table)} rows to {path}", file=sys.stderr)


def _report(table, labels: Path, classes: list[str]) -> None:
    from helpers.evaluation.scores import confusion_counts, score_by_emotion, uar
    from helpers.models.prediction import compare_with_labels

    clips, notes = compare_with_labels(table, labels, classes)
    print("".join(f"ser: {note}\n" for note in notes), file=sys.stderr, end="")
    if clips.empty:
        raise UserError(f"--labels {labels}: none of the files could be scored")
    counts = confusion_counts(clips["emotion"], clips["predicted"], classes)
    print(f"\nAgainst {labels}: {len(clips)} clips of {clips['speaker'].nunique()} speakers")
    print(f"UAR {uar(counts):.3f}, accuracy {(clips['emotion'] == clips['predicted']).mean():.3f}")
    print(score_by_emotion(counts, classes).to_string(float_format="{:.2f}".format))


if __name__ == "__main__":
    sys.exit(main())
