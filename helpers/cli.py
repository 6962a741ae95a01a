"""``ser``: the notebooks from a terminal, predictions without one, and what corpora there are."""

from __future__ import annotations

import argparse
import os
import sys
from functools import partial
from pathlib import Path

from helpers import __version__, commands, doctor
from helpers.columns import PROTOCOLS
from helpers.errors import UserError
from helpers.parallel import KEEP_MEMORY, SCHEDULER

_CORPORA = "names (`ser corpora` lists them), a list such as manifest.csv, or a folder; else demo"
_PATTERN = "labels in the file names of a folder; {} is any text"
_MAP = "rename emotions; or a file with one such pair per line"
_RATERS = "rows of a list that disagree about a clip: refuse them (if not given), or share it"
_WINDOW = "cut longer clips into windows of this length; else their loudest 3 s are used"
_SCHEDULER = "a Dask scheduler to compute on; else what SER_SCHEDULER says, or this machine"
_TIMELINE = "a CSV with a row every 1.5 s as well, for a recording of more than 6 s"
_PLOT = "a picture of the emotions over time; OUT.html: with a player that a click moves"


def main(argv: list[str] | None = None) -> int:
    """Entry point of the command ``ser``; returns the exit code.

    What a person can put right is said in a line, with code 2; our own errors keep their traceback.
    """
    for stream in (sys.stdout, sys.stderr):
        # A terminal that does not know a letter shows a mark in its place.
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")
    given = sys.argv[1:] if argv is None else argv
    known = {"list", "validate", "get", "-h", "--help"}
    if given[:1] == ["corpora"] and not known & set(given[1:2]):
        given = ["corpora", "list", *given[1:]]
    try:
        arguments = build_parser().parse_args(given)
        if "scheduler" in arguments:  # it reads clips, in processes of their own
            os.environ |= KEEP_MEMORY | {SCHEDULER: arguments.scheduler}
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
    parser.add_argument("--version", action="version", version=f"ser {__version__}")
    group = parser.add_subparsers(required=True, metavar="COMMAND")
    csv = _share()
    csv.add_argument("--csv", type=_output_file, metavar="OUT", help="write the table here as well")
    csv.add_argument("--excel", action="store_true", help="letters as Excel reads them")
    corpora = _share()
    corpora.add_argument("--corpora", help=_CORPORA)
    cluster = _share()
    cluster.add_argument("--scheduler", default=os.getenv(SCHEDULER, ""), help=_SCHEDULER)
    labels = _share()
    labels.add_argument("--pattern", default="", metavar="'{speaker}_{emotion}_{}'", help=_PATTERN)
    labels.add_argument("--emotions", default="", metavar="angry,happy", help="keep these only")
    labels.add_argument("--map", default="", metavar="anger=angry,joy=happy", help=_MAP)
    labels.add_argument("--raters", default="refuse", metavar="refuse|share", help=_RATERS)
    cutting = _share()
    cutting.add_argument("--window", type=float, default=0.0, metavar="S", help=_WINDOW)

    reading = (corpora, labels, cutting, cluster)
    run = _add(group, "run", commands.run, *reading)
    run.add_argument("--run", help="folder under outputs/; named after the corpora if absent")
    run.add_argument("--base", metavar="RUN", help="with --from: copy this run, go on under --run")
    part = run.add_mutually_exclusive_group()
    part.add_argument("--from", dest="start", metavar="NN", help="begin at this notebook, e.g. 04")
    part.add_argument("--only", metavar="NN", help="run this notebook alone, e.g. 05")
    parameter = partial(run.add_argument, "-p", type=_parameter, metavar="NAME=VALUE")
    parameter(dest="parameters", action="append", help="a parameter, as -p EPOCHS=75")

    model = _share()
    which = model.add_mutually_exclusive_group()
    which.add_argument("--model", help="a model.keras; the shipped one if not given")
    which.add_argument("--run", help="the model of this run: a folder, or its name in outputs/")

    predict = _add(group, "predict", commands.predict, model, csv, cluster)
    predict.add_argument("paths", nargs="+", metavar="FILE|FOLDER|PATTERN|-")
    predict.add_argument("--json", action="store_true", help="one JSON object per line, no table")
    channels = ("mean", "left", "right")
    predict.add_argument(
        "--channel", choices=channels, default="mean", help="%(default)s: all averaged"
    )
    predict.add_argument("--timeline", type=_output_file, metavar="OUT", help=_TIMELINE)
    drawing = partial(_output_file, kinds=(".png", ".svg", ".pdf", ".html"))
    predict.add_argument("--plot", type=drawing, metavar="OUT.png", help=_PLOT)
    predict.add_argument("--labels", type=Path, help="CSV path,emotion: also score the answers")

    live = _add(group, "live", commands.live, model, csv)
    live.add_argument("--device", metavar="N|NAME", help="a microphone; the system's if not given")
    live.add_argument("--seconds", type=float, default=600.0, help="%(default)g if not given")
    sound = partial(_output_file, kinds=(".wav", ".flac"))
    live.add_argument("--save", type=sound, metavar="OUT.wav", help="keep the recording")

    app = _add(group, "app", commands.serve_app, model)
    app.add_argument("--port", type=int, default=8866, help="%(default)s if not given")

    serve = _add(group, "serve", commands.serve_api, model)
    serve.add_argument("--port", type=int, default=8000, help="%(default)s if not given")
    serve.add_argument("--workers", type=int, default=os.cpu_count(), help="one per core")

    cv = _add(group, "cv", commands.cross_validate, *reading)
    cv.add_argument("--model", required=True, help="svm, or a network of 04 and 05 such as cnn")
    cv.add_argument("--protocol", choices=PROTOCOLS, default=PROTOCOLS[0], help="%(default)s")
    cv.add_argument("--seeds", type=_count, default=1, metavar="N", help="how many; 1 if not given")
    cv.add_argument("--folds", type=_numbers, metavar="1,2", help="these only")
    cv.add_argument("--epochs", type=_count, metavar="N", help="instead of the recipe's")
    cv.add_argument("--jobs", type=_count, default=-1, metavar="N", help="at once; one per core")
    cv.add_argument("--run", help="folder under outputs/; cv-<corpora>-<model> if not given")

    compare = _add(group, "compare", commands.compare)
    compare.add_argument("first", metavar="RUN", help="a folder, or its name in outputs/")
    compare.add_argument("second", metavar="RUN", help="the run to compare with it")

    features = _add(group, "features", commands.compute_features, *reading, csv)
    families = "logmel,mfcc40,vector162,functionals"
    features.add_argument("--family", default=families, help="%(default)s if not given")

    _add(group, "doctor", doctor.report)

    corpora = group.add_parser("corpora", help="which corpora are there, and what is wrong in them")
    group = corpora.add_subparsers(required=True, metavar="list | validate | get")
    listing = _add(group, "list", commands.list_corpora, labels, csv)
    listing.add_argument("names", nargs="*", metavar="NAME|PATH", help="these only, with citation")
    listing.add_argument("--cite", action="store_true", help="the citation of each corpus as well")
    validate = _add(group, "validate", commands.validate_corpora, labels, csv, cluster)
    validate.add_argument("names", nargs="+", metavar="NAME|PATH")
    get = _add(group, "get", commands.get_corpus)
    get.add_argument("name", metavar="NAME")
    return parser


def _share() -> argparse.ArgumentParser:
    """Options that several commands have."""
    return argparse.ArgumentParser(add_help=False)


def _add(group, name: str, call, *shared: argparse.ArgumentParser) -> argparse.ArgumentParser:
    """Add a command that its docstring describes; the first line is for the list of commands."""
    line = call.__doc__.partition("\n")[0].removesuffix(".")
    command = group.add_parser(name, help=line, description=call.__doc__, parents=shared)
    command.set_defaults(call=call)
    return command


def _count(text: str) -> int:
    n = int(text)
    if n < 1:
        raise argparse.ArgumentTypeError(f"{n}: expected at least 1")
    return n


def _numbers(text: str) -> list[int]:
    return [int(part) for part in text.split(",")]


def _parameter(text: str) -> tuple[str, str]:
    """``NAME=VALUE``; what the value means depends on the notebook's default."""
    name, equals, value = text.partition("=")
    if not equals or not name.isidentifier():
        raise UserError(f"-p {text}: expected NAME=VALUE, such as -p EPOCHS=75")
    return name, value


def _output_file(text: str, kinds: tuple[str, ...] = ()) -> Path:
    """``OUT``, a file to write: what cannot be written is said before an hour of work."""
    path = Path(text)
    if kinds and path.suffix.lower() not in kinds:
        ends = ", ".join(kinds)
        raise argparse.ArgumentTypeError(f"{path}: expected a name that ends in {ends}")
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.is_dir() or not os.access(path.parent, os.W_OK):
        raise argparse.ArgumentTypeError(f"{path}: expected a file that can be written")
    return path


if __name__ == "__main__":
    sys.exit(main())
