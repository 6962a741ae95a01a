"""``ser``: the notebooks from a terminal, predictions without one, and what corpora there are."""

from __future__ import annotations

import argparse
import logging
import os
import sys
from pathlib import Path

from helpers.errors import UserError
from helpers.runs import atomic_write, open_run

_SHOWN_A_CHECK = 50
_CORPORA = ("list", "validate", "get")


def main(argv: list[str] | None = None) -> int:
    """Entry point of the command ``ser``; returns the exit code.

    What a person can put right is said in a line, with exit code 2. An error of ours keeps its
    traceback.
    """
    try:
        arguments = build_parser().parse_args(_spell_out(sys.argv[1:] if argv is None else argv))
        code = arguments.call(arguments)
        sys.stdout.flush()  # here, where a closed pipe is understood, and not at exit
        return code
    except BrokenPipeError:  # the reader, such as `head`, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        if error.strerror is None:  # not of the system: no full disk, no missing permission
            raise
        named = f"{error.filename}: " if error.filename else ""
        print(f"ser: {named}{error.strerror}", file=sys.stderr)
        return 2
    except UserError as error:
        print(f"ser: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("ser: stopped", file=sys.stderr)
        return 130


def _spell_out(argv: list[str]) -> list[str]:
    """``ser corpora tess`` is short for ``ser corpora list tess``."""
    if argv[:1] == ["corpora"] and not set(argv[1:2]) & {*_CORPORA, "-h", "--help"}:
        return ["corpora", "list", *argv[1:]]
    return argv


def build_parser() -> argparse.ArgumentParser:
    """The commands of ``ser`` and their options."""
    parser = argparse.ArgumentParser(prog="ser", description="Speech emotion recognition.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    csv = argparse.ArgumentParser(add_help=False)
    csv.add_argument("--csv", type=_output_file, metavar="OUT", help="write the table here as well")
    corpora = argparse.ArgumentParser(add_help=False)
    corpora.add_argument("--corpora", default="demo", help="as for `ser run`; demo if not given")

    run = _add(commands, "run", _run, "run the notebooks with papermill")
    run.add_argument(
        "--corpora",
        help="comma-separated corpora (`ser corpora` lists them), a manifest.csv, or a folder with "
        "one folder per emotion; demo if not given",
    )
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
        default=[],
        help="set a notebook parameter, e.g. -p EPOCHS=75; may be repeated",
    )

    predict = _add(commands, "predict", _predict, "estimate the emotion in recordings", csv)
    predict.add_argument("paths", nargs="+", metavar="FILE|FOLDER")
    predict.add_argument("--model", help="a model.keras; that of the latest run if not given")
    predict.add_argument("--labels", type=Path, help="CSV path,emotion: report how right it was")

    about = "score a model on every speaker: all folds, several seeds"
    cv = _add(commands, "cv", _cross_validate, about, corpora)
    cv.add_argument("--model", required=True, help="svm, or a network of 04 and 05 such as cnn")
    cv.add_argument("--protocol", default="speaker-independent", help="%(default)s if not given")
    cv.add_argument("--seeds", type=int, default=1, metavar="N", help="how many; 1 if not given")
    cv.add_argument("--folds", metavar="1,2", help="these only")
    cv.add_argument("--epochs", type=int, metavar="N", help="instead of the recipe's")
    cv.add_argument("--jobs", type=int, default=-1, metavar="N", help="at once; one per core")
    cv.add_argument("--run", help="folder under outputs/; cv-<corpora>-<model> if not given")

    about = (
        "say whether one run's model is better than another's. They are compared on the test side. "
        "Exit code 1 when the second is worse by more than its 95 % interval."
    )
    compare = _add(commands, "compare", _compare, about)
    compare.add_argument("first", metavar="RUN", help="a folder, or its name in outputs/")
    compare.add_argument("second", metavar="RUN", help="the one to be judged")

    about = (
        "compute features, here or on a cluster, and keep them for the notebooks. They lie in "
        "outputs/.cache. A call that was stopped is carried on by the next one. With --csv, name "
        "one family that has one row per clip."
    )
    features = _add(commands, "features", _compute_features, about, corpora, csv)
    families = "logmel,mfcc40,vector162,functionals"
    features.add_argument("--family", default=families, help="%(default)s if not given")
    features.add_argument("--scheduler", metavar="tcp://…", help="a Dask scheduler to compute on")

    _add_corpora(commands, csv)
    return parser


def _add_corpora(commands, csv: argparse.ArgumentParser) -> None:
    group = commands.add_parser("corpora", help="which corpora are there, and are they sound")
    commands = group.add_subparsers(required=True, metavar=" | ".join(_CORPORA))
    about = "clips, speakers, hours and licence of each corpus; `ser corpora` alone does the same"
    listing = _add(commands, "list", _list_corpora, about, csv)
    listing.add_argument("names", nargs="*", metavar="NAME|PATH", help="these only, with citation")
    listing.add_argument("--cite", action="store_true", help="the citation of each corpus as well")

    about = (
        "decode every clip and list what is odd or wrong. Exit code 1 with any fault: missing, "
        "unreadable, silent, conflict (one sound under two emotions), mislabelled-by-folder. Exit "
        "code 0 with notes only: unparsed, copy, duplicate, short (under 0.3 s), quiet (95 % of "
        "its frames below -50 dBFS), clipped."
    )
    validate = _add(commands, "validate", _validate_corpora, about, csv)
    validate.add_argument("names", nargs="+", metavar="NAME|PATH")

    about = (
        "download a corpus. What is complete is left as it is. Exit code 1 when clips are missing "
        "after all."
    )
    get = _add(commands, "get", _get_corpus, about)
    get.add_argument("name", metavar="NAME")
    sources = ("publisher", "kaggle")
    get.add_argument("--source", choices=sources, default=sources[0], help="%(default)s by default")
    get.add_argument("--force", action="store_true", help="again, although it is complete")


def _add(commands, name: str, call, about: str, *shared: argparse.ArgumentParser):
    """Add a command; the first sentence of ``about`` is its line in the list of commands."""
    line = about.partition(". ")[0]
    command = commands.add_parser(name, help=line, description=about, parents=shared)
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
    if path.is_dir():
        raise UserError(f"--csv {path}: found a folder, expected the name of a file")
    folder = path.absolute().parent
    while not folder.exists():
        folder = folder.parent
    if not (folder.is_dir() and os.access(folder, os.W_OK)):
        raise UserError(f"--csv {path}: {folder} is no folder that can be written to")
    return path


def _run(arguments: argparse.Namespace) -> int:
    from helpers.pipeline import run_notebooks

    return run_notebooks(
        corpora=arguments.corpora,
        run_name=arguments.run,
        start=arguments.start,
        only=arguments.only,
        parameters=dict(arguments.parameters),
    )


def _predict(arguments: argparse.Namespace) -> int:
    from helpers.corpora import load_manifest
    from helpers.models.modelfile import read_card
    from helpers.models.prediction import Predictor, find_model, list_audio
    from helpers.models.training import prepare_keras

    files = list_audio(arguments.paths)
    if arguments.labels:
        load_manifest(arguments.labels)  # what cannot be read is said before an hour of work
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
    _write_csv(table, arguments.csv)
    print(
        table.drop(columns="error").to_string(index=False, na_rep="", float_format="{:.2f}".format)
    )
    for row in table[table["error"] != ""].itertuples():
        print(f"ser: {row.error}", file=sys.stderr)
    if arguments.labels:
        _report(table, arguments.labels, predictor.classes)
    return 0 if (table["error"] == "").any() else 1


def _load_clips(names: str, *, scheduler: str | None = None):
    """Clips of corpora that can be decoded; the others are said."""
    from helpers.corpora import load_corpora, parse_names
    from helpers.parallel import KEEP_MEMORY
    from helpers.sound.audio import inspect_clips

    os.environ.update(KEEP_MEMORY)  # for the processes that decode
    clips, rejected = inspect_clips(load_corpora(parse_names(names)), scheduler=scheduler)
    for row in rejected.itertuples():
        print(f"left out: {row.error}", file=sys.stderr)
    # What is computed from them, and what was in the cache, is told as well.
    logging.basicConfig(format="%(message)s", stream=sys.stdout)
    logging.getLogger("helpers").setLevel(logging.INFO)
    return clips


def _cross_validate(arguments: argparse.Namespace) -> int:
    from helpers.experiments import crossval

    chosen = {name: getattr(arguments, name) for name in ("protocol", "seeds", "jobs", "epochs")}
    crossval.check_request(arguments.model, **chosen)
    folds = crossval.parse_folds(arguments.folds)
    run = open_run(arguments.run) if arguments.run else None
    clips = _load_clips(arguments.corpora)
    run = run or open_run(crossval.name_run(clips, arguments.model, arguments.protocol))
    return crossval.report(clips, arguments.model, folds=folds, run=run, **chosen)


def _compare(arguments: argparse.Namespace) -> int:
    from helpers.evaluation.comparison import compare_runs, format_comparison
    from helpers.runs import find_run

    first, second = find_run(arguments.first), find_run(arguments.second)
    found, notes = compare_runs(first, second)
    print(format_comparison(found, first.name, second.name), *notes, sep="\n")
    return int(found["verdict"] == "worse")


def _compute_features(arguments: argparse.Namespace) -> int:
    import numpy as np
    import pandas as pd

    from helpers.features.extract import extract_features
    from helpers.features.families import FRAME_FAMILIES

    families = [name.strip() for name in arguments.family.split(",")]
    rows = [name for name in families if name not in FRAME_FAMILIES]
    if arguments.csv and len(rows) != 1:
        raise UserError(
            f"--csv {arguments.csv}: expected one family with one row per clip in --family, got "
            f"{len(rows)} ({', '.join(rows)})"
        )
    clips = _load_clips(arguments.corpora, scheduler=arguments.scheduler)
    found = extract_features(clips, family=families, scheduler=arguments.scheduler)
    for name, values in found.items():
        print(f"{name}: {' × '.join(map(str, np.shape(values)))}")
    if arguments.csv:
        facts = clips[["path", "corpus", "speaker", "emotion"]]
        _write_csv(pd.concat([facts, found[rows[0]]], axis=1), arguments.csv)
    return 0


def _list_corpora(arguments: argparse.Namespace) -> int:
    from helpers.corpora import CORPORA
    from helpers.sound.check import survey_corpora

    table = survey_corpora(arguments.names)
    _write_csv(table, arguments.csv)
    shown = table[["corpus", "hours", "state", "licence"]].copy()
    for place, part in enumerate(("clips", "speakers"), start=1):
        expected = ("/" + table[f"expected_{part}"].astype("string")).fillna("")
        shown.insert(place, part, table[part].astype("string") + expected)
    shown["hours"] = shown["hours"].map("{:.2f}".format)
    print(_align(shown, right=("clips", "speakers", "hours")))
    corpora = [CORPORA[name] for name in table["corpus"] if name in CORPORA]
    for corpus in corpora:
        if (table.loc[table["corpus"] == corpus.name, "state"] == "not there").any():
            print(f"{corpus.name} is not there: {_how_to_get(corpus)}")
    if arguments.names or arguments.cite:
        for corpus in corpora:
            print(f"\n{corpus.name}: {corpus.citation}\n  {corpus.url}")
    return 0


def _how_to_get(corpus) -> str:
    if corpus.is_offered:
        return f"ser corpora get {corpus.name}"
    kaggle = f", or ser corpora get {corpus.name} --source kaggle" if corpus.kaggle else ""
    return f"{corpus.url}{kaggle}"


def _validate_corpora(arguments: argparse.Namespace) -> int:
    import pandas as pd

    from helpers.corpora import parse_names
    from helpers.parallel import KEEP_MEMORY
    from helpers.sound.check import FAULTS, NOTES, validate_corpus

    os.environ.update(KEEP_MEMORY)  # for the processes that decode
    names = parse_names(arguments.names)
    checked = [validate_corpus(name) for name in names]
    table = pd.concat([found for found, _ in checked], ignore_index=True)
    # Two parts of one folder meet the same stray files: report each once.
    again = (table["check"] == "unparsed") & table.duplicated(["path", "check"])
    table = table[~again]
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
    from helpers.corpora.download import download_corpus
    from helpers.sound.check import survey_corpora

    folder = download_corpus(arguments.name, source=arguments.source, force=arguments.force)
    (row,) = survey_corpora([arguments.name]).itertuples()
    print(
        f"{row.corpus} is in {folder}: {row.clips}/{row.expected_clips} clips, "
        f"{row.speakers}/{row.expected_speakers} speakers, {row.state}"
    )
    return 0 if row.state == "complete" else 1


def _align(table, *, right: tuple[str, ...] = ()) -> str:
    """Columns of text, to the left unless named; pandas has all to the right."""
    lines = [list(table.columns), *table.astype(str).to_numpy().tolist()]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    sides = [">" if name in right else "<" for name in table.columns]
    form = "  ".join(f"{{:{side}{width}}}" for side, width in zip(sides, widths, strict=True))
    return "\n".join(form.format(*line).rstrip() for line in lines)


def _write_csv(table, path: Path | None) -> None:
    """Write the table where ``--csv`` says, if it was given."""
    if path is None:
        return
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
