"""``ser``: the notebooks from a terminal, and predictions without one."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from helpers.runs import MissingStepError, atomic_write


class UsageError(ValueError):
    """Something on the command line that cannot be meant."""


def main(argv: list[str] | None = None) -> int:
    """Entry point of the command ``ser``; returns the exit code."""
    arguments = build_parser().parse_args(argv)
    try:
        code = arguments.call(arguments)
        sys.stdout.flush()  # here, where a closed pipe is understood, and not at exit
        return code
    except BrokenPipeError:  # the reader, such as `head`, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (MissingStepError, ValueError) as error:
        print(f"ser: {error}", file=sys.stderr)
        return 2
    except OSError as error:  # a full disk, a missing permission: the system says which file
        named = f"{error.filename}: " if error.filename else ""
        print(f"ser: {named}{error.strerror or error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("ser: stopped", file=sys.stderr)
        return 130


def build_parser() -> argparse.ArgumentParser:
    """The commands of ``ser`` and their options."""
    parser = argparse.ArgumentParser(prog="ser", description="Speech emotion recognition.")
    commands = parser.add_subparsers(required=True, metavar="run | predict")

    run = commands.add_parser("run", help="run the notebooks with papermill")
    run.add_argument(
        "--corpora",
        help="comma-separated corpora (demo, ravdess, ravdess-song, tess), a manifest.csv, or a "
        "folder with one folder an emotion; demo if not given",
    )
    run.add_argument("--run", help="name of the folder under outputs/; after the corpora if absent")
    run.add_argument("--from", dest="start", metavar="NN", help="begin at this notebook, e.g. 04")
    run.add_argument("--only", metavar="NN", help="run this notebook alone, e.g. 05")
    run.add_argument(
        "-p",
        dest="parameters",
        metavar="NAME=VALUE",
        action="append",
        default=[],
        help="set a notebook parameter, e.g. -p EPOCHS=75; may be repeated",
    )
    run.set_defaults(call=_run)

    predict = commands.add_parser("predict", help="estimate the emotion in recordings")
    predict.add_argument("paths", nargs="+", metavar="FILE|FOLDER")
    predict.add_argument("--model", help="a model.keras; that of the latest run if not given")
    predict.add_argument("--csv", type=Path, help="write the table here as well")
    predict.add_argument("--labels", type=Path, help="CSV path,emotion: report how right it was")
    predict.set_defaults(call=_predict)
    return parser


def _run(arguments: argparse.Namespace) -> int:
    from helpers.pipeline import run_notebooks

    if arguments.start and arguments.only:
        raise UsageError("--from and --only: expected at most one of them")
    return run_notebooks(
        corpora=arguments.corpora,
        run_name=arguments.run,
        start=arguments.start,
        only=arguments.only,
        parameters=dict(_split_parameter(text) for text in arguments.parameters),
    )


def _split_parameter(text: str) -> tuple[str, str]:
    """``NAME=VALUE``; what the value means depends on the notebook's default."""
    name, equals, value = text.partition("=")
    if not equals or not name.isidentifier():
        raise UsageError(f"-p {text}: expected NAME=VALUE, such as -p EPOCHS=75")
    return name, value


def _predict(arguments: argparse.Namespace) -> int:
    from helpers.corpora import load_manifest
    from helpers.modelfile import read_card
    from helpers.prediction import Predictor, find_model, list_audio
    from helpers.training import prepare_keras

    files = list_audio(arguments.paths)
    # What cannot be read or written is said before an hour of work, not after it.
    if arguments.labels:
        load_manifest(arguments.labels)
    if arguments.csv:
        _check_writable(arguments.csv)
    model = arguments.model or find_model()
    read_card(model)  # a wrong file is told in a moment; TensorFlow takes seconds to start
    prepare_keras(0)  # the same kernels as in the notebooks, without TensorFlow's chatter
    predictor = Predictor(model)
    if predictor.is_synthetic:
        print(
            f"ser: {predictor.path} learned from the synthetic demo voices; its answers say "
            "nothing about real speech",
            file=sys.stderr,
        )
    table = predictor.predict_files(files)
    if arguments.csv:
        with atomic_write(arguments.csv) as temporary:
            table.to_csv(temporary, index=False)
        print(f"ser: wrote {len(table)} rows to {arguments.csv}", file=sys.stderr)
    print(
        table.drop(columns="error").to_string(index=False, na_rep="", float_format="{:.2f}".format)
    )
    for row in table[table["error"] != ""].itertuples():
        print(f"ser: {row.error}", file=sys.stderr)
    if arguments.labels:
        _report(table, arguments.labels, predictor.classes)
    return 0 if (table["error"] == "").any() else 1


def _check_writable(path: Path) -> None:
    if path.is_dir():
        raise UsageError(f"--csv {path}: found a folder, expected the name of a file")
    folder = path.absolute().parent
    while not folder.exists():
        folder = folder.parent
    if not (folder.is_dir() and os.access(folder, os.W_OK)):
        raise UsageError(f"--csv {path}: {folder} is no folder that can be written to")


def _report(table, labels: Path, classes: list[str]) -> None:
    from helpers.evaluation import confusion_counts, score_by_emotion, uar
    from helpers.prediction import compare_with_labels

    clips, notes = compare_with_labels(table, labels, classes)
    print("".join(f"ser: {note}\n" for note in notes), file=sys.stderr, end="")
    if clips.empty:
        raise UsageError(f"--labels {labels}: none of the files could be scored")
    counts = confusion_counts(clips["emotion"], clips["predicted"], classes)
    print(f"\nAgainst {labels}: {len(clips)} clips of {clips['speaker'].nunique()} speakers")
    print(f"UAR {uar(counts):.3f}, accuracy {(clips['emotion'] == clips['predicted']).mean():.3f}")
    print(score_by_emotion(counts, classes).to_string(float_format="{:.2f}".format))


if __name__ == "__main__":
    sys.exit(main())
