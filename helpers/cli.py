"""``ser``: the notebooks from a terminal, predictions without one, and what corpora there are."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from helpers.errors import UserError
from helpers.runs import MissingStepError, atomic_write, open_run

_SHOWN_A_CHECK = 50
_CORPORA = ("list", "validate", "get")


class UsageError(ValueError):
    """Something on the command line that cannot be meant."""


def main(argv: list[str] | None = None) -> int:
    """Entry point of the command ``ser``; returns the exit code."""
    arguments = build_parser().parse_args(_spell_out(sys.argv[1:] if argv is None else argv))
    try:
        code = arguments.call(arguments)
        sys.stdout.flush()  # here, where a closed pipe is understood, and not at exit
        return code
    except BrokenPipeError:  # the reader, such as `head`, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (MissingStepError, UserError, ValueError) as error:
        print(f"ser: {error}", file=sys.stderr)
        return 2
    except OSError as error:  # a full disk, a missing permission: the system says which file
        named = f"{error.filename}: " if error.filename else ""
        print(f"ser: {named}{error.strerror or error}", file=sys.stderr)
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

    run = commands.add_parser("run", help="run the notebooks with papermill")
    run.add_argument(
        "--corpora",
        help="comma-separated corpora (`ser corpora` lists them), a manifest.csv, or a folder with "
        "one folder an emotion; demo if not given",
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

    cv = commands.add_parser("cv", help="score a model on every speaker: all folds, several seeds")
    cv.add_argument("--corpora", default="demo", help="as for `ser run`; demo if not given")
    cv.add_argument("--model", required=True, help="svm, or a network of 04 and 05 such as cnn")
    cv.add_argument("--protocol", default="speaker-independent", help="%(default)s if not given")
    cv.add_argument("--seeds", type=int, default=1, metavar="N", help="so many; 1 if not given")
    cv.add_argument("--folds", metavar="1,2", help="these only")
    cv.add_argument("--epochs", type=int, metavar="N", help="instead of the recipe's")
    cv.add_argument("--jobs", type=int, default=-1, metavar="N", help="at once; one a core")
    cv.add_argument("--run", help="folder under outputs/; cv-<corpora>-<model> if not given")
    cv.set_defaults(call=_cross_validate)

    compare = commands.add_parser(
        "compare",
        help="is one run's model better than another's?",
        description="Compare what the models of two runs said on the test side. Exit code 1 when "
        "the second is worse by more than its 95 %% interval.",
    )
    compare.add_argument("first", metavar="RUN", help="a folder, or its name in outputs/")
    compare.add_argument("second", metavar="RUN", help="the one to be judged")
    compare.set_defaults(call=_compare)

    features = commands.add_parser(
        "features",
        help="compute features, here or on a cluster, and keep them for the notebooks",
        description="Compute features of every clip, in parallel. They are kept in outputs/.cache, "
        "where the notebooks find them. What was stopped is carried on by the next call.",
    )
    features.add_argument("--corpora", default="demo", help="as for `ser run`; demo if not given")
    features.add_argument(
        "--family",
        default="logmel,mfcc40,vector162,functionals",
        help="comma-separated; %(default)s if not given",
    )
    features.add_argument(
        "--scheduler", metavar="tcp://…", help="a Dask scheduler whose workers do it"
    )
    features.add_argument("--csv", type=Path, metavar="OUT", help="write one clip family here")
    features.set_defaults(call=_compute_features)

    corpora = commands.add_parser("corpora", help="which corpora are there, and are they sound")
    _add_corpora_commands(corpora.add_subparsers(required=True, metavar=" | ".join(_CORPORA)))
    return parser


def _add_corpora_commands(commands: argparse._SubParsersAction) -> None:
    listing = commands.add_parser(
        "list",
        help="clips, speakers, hours and licence of each corpus; `ser corpora` alone does the same",
    )
    listing.add_argument("names", nargs="*", metavar="NAME|PATH", help="these only, with citation")
    listing.add_argument("--cite", action="store_true", help="the citation of each corpus as well")
    listing.set_defaults(call=_list_corpora)

    validate = commands.add_parser(
        "validate",
        help="decode every clip and list what is odd or wrong",
        description="Decode every clip and list what is odd or wrong, a row a finding.",
        epilog="Exit code 1 with any fault: missing, unreadable, silent, conflict (one sound under "
        "two emotions), mislabelled-by-folder. Exit code 0 with notes only: unparsed, copy, "
        "duplicate, short (under 0.3 s), quiet (95 % of its frames below -50 dBFS), clipped.",
    )
    validate.add_argument("names", nargs="+", metavar="NAME|PATH")
    validate.set_defaults(call=_validate_corpora)
    for command in (listing, validate):
        command.add_argument("--csv", type=Path, metavar="OUT", help="write the table here as well")

    get = commands.add_parser(
        "get",
        help="download a corpus",
        description="Download a corpus; what is complete is left as it is. Exit code 1 when clips "
        "are missing after all.",
    )
    get.add_argument("name", metavar="NAME")
    get.add_argument(
        "--source",
        choices=("publisher", "kaggle"),
        default="publisher",
        help="where from: publisher if not given",
    )
    get.add_argument("--force", action="store_true", help="again, although it is complete")
    get.set_defaults(call=_get_corpus)


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
    from helpers.models.modelfile import read_card
    from helpers.models.prediction import Predictor, find_model, list_audio
    from helpers.models.training import prepare_keras

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
    if arguments.csv:
        _check_writable(arguments.csv)
        if len(rows) != 1:
            raise UsageError(
                f"--csv {arguments.csv}: expected one family with a row a clip in --family, got "
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
    from helpers.sound.survey import survey_corpora

    if arguments.csv:
        _check_writable(arguments.csv)
    table = survey_corpora(arguments.names)
    if arguments.csv:
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

    if arguments.csv:
        _check_writable(arguments.csv)
    os.environ.update(KEEP_MEMORY)  # for the processes that decode
    names = parse_names(arguments.names)
    tables = [validate_corpus(name) for name in names]
    table = pd.concat(tables, ignore_index=True)
    # Two parts of one folder meet the same stray files: report each once.
    again = (table["check"] == "unparsed") & table.duplicated(["path", "check"])
    table = table[~again]
    if arguments.csv:
        _write_csv(table, arguments.csv)
    counts = table["check"].value_counts().reindex([*FAULTS, *NOTES]).dropna().astype(int)
    if len(table):
        print(_align(table.groupby("check", sort=False).head(_SHOWN_A_CHECK)))
    for check, n in counts[counts > _SHOWN_A_CHECK].items():
        print(f"… and {n - _SHOWN_A_CHECK} more of {check}; --csv OUT has all")
    found = ", ".join(f"{n} {check}" for check, n in counts.items()) or "nothing to report"
    print(f"{sum(t.attrs['clips'] for t in tables)} clips of {', '.join(names)}: {found}")
    return int(table["check"].isin(FAULTS).any())


def _get_corpus(arguments: argparse.Namespace) -> int:
    from helpers.corpora.download import download_corpus
    from helpers.sound.survey import survey_corpora

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


def _write_csv(table, path: Path) -> None:
    with atomic_write(path) as temporary:
        table.to_csv(temporary, index=False)
    print(f"ser: wrote {len(table)} rows to {path}", file=sys.stderr)


def _check_writable(path: Path) -> None:
    if path.is_dir():
        raise UsageError(f"--csv {path}: found a folder, expected the name of a file")
    folder = path.absolute().parent
    while not folder.exists():
        folder = folder.parent
    if not (folder.is_dir() and os.access(folder, os.W_OK)):
        raise UsageError(f"--csv {path}: {folder} is no folder that can be written to")


def _report(table, labels: Path, classes: list[str]) -> None:
    from helpers.evaluation.scores import confusion_counts, score_by_emotion, uar
    from helpers.models.prediction import compare_with_labels

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
