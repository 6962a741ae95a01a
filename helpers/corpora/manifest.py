"""Your own recordings: a CSV that lists them, or a folder with one folder an emotion.

The corpus is called like the CSV (without suffix) or the folder. Emotion names are your own, in any
script; the names of :data:`helpers.corpora.EMOTIONS` are recognised in any case, all others are
kept as written (``Wut`` and ``wut`` are two).

Say who speaks whenever you can. Clips without a speaker all belong to one speaker called
``<corpus>-unknown``: a test on people whom the model has never heard is then impossible.
"""

from __future__ import annotations

import csv
import io
import logging
import os
import unicodedata
from pathlib import Path

import pandas as pd

from helpers.corpora.table import EMOTIONS, CorpusError, find_audio, utterance_table

UNKNOWN_SPEAKER = "unknown"
_REQUIRED = ("path", "emotion")
_OPTIONAL = ("speaker", "gender", "intensity", "text", "channel", "language", "split")
_RESERVED = frozenset(
    "path file corpus speaker gender intensity emotion predicted confidence error start_s end_s"
    " protocol model".split()
)
_SPLIT = {**{side: side for side in ("train", "validation", "test", "")}, "val": "validation",
          "valid": "validation", "dev": "validation"}  # fmt: skip
_GENDER = {"f": "female", "w": "female", "m": "male"}
_LOG = logging.getLogger(__name__)


def load_manifest(path: str | Path) -> pd.DataFrame:
    """Utterance table of the clips that a CSV lists.

    Parameters
    ----------
    path : path
        CSV in UTF-8 with a header. Columns ``path`` (relative to the CSV, or absolute) and
        ``emotion``, and any of ``speaker gender intensity text channel language split``; others
        are ignored. Separated by ``,``, ``;`` or tabs. ``split`` says on which side a clip is:
        ``train``, ``validation`` or ``test``.

    Returns
    -------
    DataFrame
        ``attrs["missing"]`` lists files of the CSV that are not there; they have no row. With a
        further column ``split`` if the CSV says the side of every clip.

    Raises
    ------
    CorpusError
        Not a CSV in UTF-8, a column missing, a row without path or emotion (the message has the
        row numbers, the header is row 1), one file under two emotions, a side that is none of the
        three or given for some rows only, or no listed file exists.
    """
    path = Path(os.path.abspath(path))
    name = _nfc(path.stem)
    listed = _read_rows(path)
    _refuse_rows(path, "an empty path", [n for n, row in listed if not row["path"]])
    _refuse_rows(path, "an empty emotion", [n for n, row in listed if not row["emotion"]])
    sides = {number: _SPLIT.get(row["split"].lower()) for number, row in listed}
    why = f"another split than {', '.join(filter(None, _SPLIT))}"
    _refuse_rows(path, why, [number for number, side in sides.items() if side is None])
    if any(sides.values()):
        _refuse_rows(path, "no split, as others have", [n for n, side in sides.items() if not side])
    rows, missing, contradicting = {}, [], []
    for number, row in listed:
        clip = _existing(path.parent, row["path"])
        if clip is None:
            missing.append(os.path.join(path.parent, row["path"]))
            continue
        row["emotion"] = _emotion(row["emotion"])
        known = rows.setdefault(clip, row)
        if known["emotion"] != row["emotion"]:
            contradicting.append(number)
    _refuse_rows(path, "another emotion than an earlier row of the same file", contradicting)
    if not rows:
        raise CorpusError(
            f"{path}: none of its {len(listed)} files is there, e.g. {missing[0]}. Paths in the "
            "CSV are relative to the folder of the CSV"
        )
    table = utterance_table(
        ({**row, "path": clip, **_own(name, row)} for clip, row in rows.items()),
        unparsed=[],
        missing=missing,
    )
    if any(sides.values()):
        table["split"] = [_SPLIT[rows[clip]["split"].lower()] for clip in table["path"]]
    return _checked(table, path)


def load_folders(root: str | Path) -> pd.DataFrame:
    """Utterance table of ``<root>/<emotion>/clip.wav`` or ``<root>/<emotion>/<speaker>/clip.wav``.

    Parameters
    ----------
    root : path
        The names of its folders are the emotions. Files in further folders below the speaker's
        belong to that speaker.

    Returns
    -------
    DataFrame
        ``attrs["unparsed"]`` lists audio files that lie in no emotion's folder.

    Raises
    ------
    CorpusError
        No folder with audio files in it.
    """
    root = Path(os.path.abspath(root))
    name = _nfc(root.name)
    rows, unparsed = [], []
    for clip in find_audio(root):
        folders = [_nfc(part) for part in clip.relative_to(root).parts[:-1]]
        if not folders:
            unparsed.append(str(clip))
            continue
        row = {"path": str(clip), "emotion": _emotion(folders[0])}
        rows.append(row | _own(name, {"speaker": folders[1] if len(folders) > 1 else ""}))
    if not rows:
        raise CorpusError(
            f"{root}: expected one folder an emotion with audio files in it, such as "
            f"{root.name}/happy/clip.wav; found {len(unparsed)} audio files, none in a folder. "
            "Sort them into folders, or list them in a CSV with the columns path,emotion"
        )
    return _checked(utterance_table(rows, unparsed=unparsed, missing=[]), root)


def _read_rows(path: Path) -> list[tuple[int, dict[str, str]]]:
    """Rows of the CSV with their line numbers; every optional column is there, perhaps empty."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise CorpusError(
            f"{path}: byte {error.start} is not UTF-8. Save it as 'CSV UTF-8' (Excel: Save as, "
            "file type 'CSV UTF-8')"
        ) from error
    header = text.split("\n", 1)[0]
    separator = max(",;\t", key=header.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator)
    try:
        columns = [_nfc(cell).lower() for cell in next(reader, [])]
        lines = [(reader.line_num, [_nfc(cell) for cell in line]) for line in reader]
    except csv.Error as error:
        raise CorpusError(f"{path}: line {reader.line_num}: not a CSV ({error})") from error
    absent = [column for column in _REQUIRED if column not in columns]
    if absent:
        raise CorpusError(
            f"{path}: no column {' and no column '.join(absent)}; its header is {header[:100]!r}, "
            f"expected path,emotion and any of {','.join(_OPTIONAL)}"
        )
    lines = [(number, line) for number, line in lines if any(line)]
    if not lines:
        raise CorpusError(f"{path}: a header without rows, expected a row a clip")
    # A comma in an unquoted text shifts all later cells: wrong labels, not just a long row.
    shifted = [number for number, line in lines if any(line[len(columns) :])]
    _refuse_rows(path, "more cells than the header (quote cells that hold a separator)", shifted)
    return [
        (number, dict.fromkeys(_REQUIRED + _OPTIONAL, "") | _known(columns, line))
        for number, line in lines
    ]


def _known(columns: list[str], line: list[str]) -> dict[str, str]:
    pairs = zip(columns, line, strict=False)  # a short row leaves its last cells empty
    return {column: cell for column, cell in pairs if column in _REQUIRED + _OPTIONAL}


def _refuse_rows(path: Path, why: str, numbers: list[int]) -> None:
    if numbers:
        shown = ", ".join(map(str, numbers[:10])) + (", …" if len(numbers) > 10 else "")
        raise CorpusError(f"{path}: {len(numbers)} rows with {why}: row {shown} (header is row 1)")


def _existing(folder: Path, written: str) -> str | None:
    """Absolute path of a listed file; a Mac writes names as NFD, Excel on Windows backslashes."""
    for text in (written, written.replace("\\", "/")):
        for form in (text, unicodedata.normalize("NFD", text)):
            path = os.path.abspath(os.path.join(folder, form))
            if "\0" not in path and os.path.isfile(path):
                return path
    return None


def _own(name: str, row: dict[str, str]) -> dict[str, str]:
    """Columns that need a second look in own data: unique speaker, usual spelling of the rest."""
    gender = row.get("gender", "").lower()
    return {
        "corpus": name,
        "speaker": f"{name}-{row['speaker'] or UNKNOWN_SPEAKER}",
        "gender": _GENDER.get(gender, gender),
        "channel": row.get("channel", "").lower() or "speech",
    }


def _emotion(text: str) -> str:
    return text.lower() if text.lower() in EMOTIONS else text


def _nfc(text: str) -> str:
    return unicodedata.normalize("NFC", text).strip()


def _checked(table: pd.DataFrame, path: Path) -> pd.DataFrame:
    # A prediction has a column an emotion beside these.
    reserved = sorted(set(table["emotion"]) & _RESERVED)
    if reserved:
        raise CorpusError(
            f"{path}: emotions may not be called {', '.join(reserved)}, which are columns of every "
            "prediction; rename them"
        )
    if table["emotion"].nunique() == 1:
        _LOG.warning("%s: one emotion only, %r", path, table.loc[0, "emotion"])
    return table
