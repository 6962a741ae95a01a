"""A list of one's own recordings: a CSV, or a table of Excel, with one row per clip.

The corpus is called like the file, or like its folder where the file is called ``manifest`` or the
like. Emotion names are your own, in any script; the names of :data:`helpers.corpora.EMOTIONS` are
recognised in any case.

Say who speaks whenever you can. Clips without a speaker all belong to one speaker called
``<corpus>-unknown``: where no clip has a speaker, a test on people whom the model has never heard
is impossible. Where some have one, the others are in none of its sets: see
:func:`find_unnamed`.
"""

from __future__ import annotations

import csv
import functools
import io
import json
import logging
import os
from collections import Counter, defaultdict
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pandas as pd
from python_calamine import CalamineError

from helpers.columns import MEASURED, PROTOCOLS
from helpers.corpora.labels import AS_WRITTEN, Reading, normalize, read_field
from helpers.corpora.table import UNKNOWN_SPEAKER, Listing, name_few, name_own
from helpers.errors import UserError
from helpers.parts import name_part

#: What the columns may be called; the first word is ours.
_COLUMNS = {
    "path": "file filename file_name filepath file_path audio audio_path wav clip",
    "emotion": "label class emotion_label",
    "speaker": "speaker_id subject actor person",
    "gender": "sex",
    "intensity": "",
    "text": "transcript transcription sentence",
    "channel": "",
    "language": "lang",
    "split": "side subset partition set",
    "start_s": "start start_time begin onset",
    "end_s": "end end_time stop offset",
    "channel_index": "",
}
_NAMED = {word: name for name, others in _COLUMNS.items() for word in (name, *others.split())}
_WHICH = ("path", "start_s", "end_s", "channel_index")  # say which clip it is
_IGNORED = {"corpus", "duration_s", *MEASURED, *PROTOCOLS}  # what notebook 01 adds
_SHEETS = (".xlsx", ".xlsm", ".xlsb", ".xls", ".ods")
_TOO_GENERAL = frozenset("manifest metadata labels list index".split())
_LOG = logging.getLogger(__name__)


def load_manifest(path: str | Path, reading: Reading = AS_WRITTEN) -> Listing:
    """List the clips of a CSV, or of the first sheet of an Excel or LibreOffice file.

    Parameters
    ----------
    path : path
        A table with a header. Columns ``path`` (relative to the list, or absolute) and
        ``emotion``, and any of ``speaker gender intensity text channel language split start_s
        end_s channel_index``; others are named in a warning. Separated by ``,``, ``;``, ``|`` or
        tabs, in UTF-8, UTF-16 or Windows-1252. ``split`` says in which set a clip is: ``train``,
        ``validation`` or ``test``. ``start_s`` and ``end_s`` make a clip of a part of a file,
        ``channel_index`` (0 is the left one) of one of its channels.
    reading : Reading
        ``raters`` is read here.

    Returns
    -------
    Listing
        Files that are not there are left out as ``missing``, rows that only repeat another as
        ``repeated``.

    Raises
    ------
    UserError
        Not such a table, a column missing or there twice, a row without path or emotion (the
        message has the row numbers, the header is row 1), rows that contradict each other about
        one clip, an emotion called like a column, a set that is none of the three or given for
        some rows only, times that are none, or no listed file exists.
    """
    path = Path(os.path.abspath(path))
    listed = _read_rows(path)
    names_in = functools.cache(_composed_names)
    by_clip: dict[str, list[tuple[int, dict]]] = defaultdict(list)
    left_out = []
    for number, row in listed:
        file = _find_file(path.parent, row["path"], names_in)
        if file is None:
            left_out.append((os.path.join(path.parent, row["path"]), "missing"))
        else:
            by_clip[str(_name_clip(file, row))].append((number, row))
    if not by_clip:
        raise UserError(
            f"{path}: none of its {len(listed)} files is there, e.g. {left_out[0][0]}. Paths in "
            "the list are relative to the folder of the list"
        )
    rows = []
    for clip, same in by_clip.items():
        row = {"path": clip, **_agree(path, same, reading.raters)}
        if reading.raters == "refuse":  # else each row is a vote
            left_out += [(clip, "repeated")] * (len(same) - 1)
        rows.append(row)
    return name_own(name_list(path), rows, left_out)


def name_list(path: Path) -> str:
    """Name of own data: that of the file or folder, or of the folder around a general name."""
    stem = normalize(path.stem if path.is_file() else path.name)
    return normalize(path.parent.name) if stem.lower() in _TOO_GENERAL else stem


def find_unnamed(clips: pd.DataFrame) -> pd.Series:
    """Mask of the clips that name no speaker, in corpora where others do.

    Nobody knows who speaks in them: perhaps a person of the test set. So they are no further
    person beside the named ones. Where no clip of a corpus has a speaker, all are taken for one
    person, and none is in the mask.

    Parameters
    ----------
    clips : pd.DataFrame
        Utterance table; ``corpus`` and ``speaker`` are read.

    Returns
    -------
    pd.Series of bool
        Indexed as ``clips``.

    Examples
    --------
    >>> clips = pd.DataFrame({"corpus": ["a", "a", "b"],
    ...     "speaker": ["a-unknown", "a-Anna", "b-unknown"]})
    >>> find_unnamed(clips).tolist()
    [True, False, False]
    """
    unnamed = clips["speaker"] == clips["corpus"] + f"-{UNKNOWN_SPEAKER}"
    alone = unnamed.groupby(clips["corpus"]).transform("all")
    return unnamed & ~alone.astype(bool)


def _read_rows(path: Path) -> list[tuple[int, dict[str, str]]]:
    """Rows of the list with their numbers, in our words; every known column is there."""
    is_sheet = path.suffix.lower() in _SHEETS
    lines = _read_sheet(path) if is_sheet else _read_text(path)
    lines = [(number, [normalize(cell) for cell in line]) for number, line in lines]
    header = lines[0][1] if lines else []
    columns = [_NAMED.get(cell.lower(), cell) for cell in header]
    _check_columns(path, header, columns)
    lines = [(number, line) for number, line in lines[1:] if any(line)]
    if not lines:
        raise UserError(f"{path}: a header without rows, expected one row per clip")
    # A comma in an unquoted text shifts all later cells: wrong labels, not just a long row.
    long = [number for number, line in lines if any(line[len(columns) :])]
    # A short row leaves its last cells empty.
    empty = dict.fromkeys(_COLUMNS, "")
    rows = [(n, empty | dict(zip(columns, line, strict=False))) for n, line in lines]
    strange = [n for n, row in rows if row["split"] and not read_field("split", row["split"])]
    rows = [(n, {name: read_field(name, row[name]) for name in _COLUMNS}) for n, row in rows]
    without = [n for n, row in rows if not row["split"]]
    wrong = {
        "more cells than the header (quote cells that hold a separator)": long,
        "an empty path": [n for n, row in rows if not row["path"]],
        "an empty emotion": [n for n, row in rows if not row["emotion"]],
        "another split than train, validation, test": strange,
        "start_s, end_s or channel_index that are none (expected seconds, 0 <= start_s < end_s)": [
            n for n, row in rows if not _name_clip(".", row)
        ],
        "no split, as others have": without if len(without) < len(rows) else [],
    }
    for why, numbers in wrong.items():
        if numbers:
            shown = name_few(numbers, 10)
            raise UserError(
                f"{path}: {len(numbers)} rows with {why}: row {shown} (header is row 1)"
            )
    return rows


def _read_sheet(path: Path) -> list[tuple[int, list[str]]]:
    try:
        sheets = pd.read_excel(
            path, sheet_name=None, header=None, dtype=str, keep_default_na=False, engine="calamine"
        )
    except (CalamineError, ValueError) as error:  # ValueError: a book without a sheet
        raise UserError(f"{path}: no such table ({error}); save it as .xlsx or CSV") from error
    (_, first), *others = sheets.items()
    filled = [name for name, cells in others if len(cells)]
    if filled:
        _LOG.warning("%s: sheets that are not used: %s", path, ", ".join(filled))
    return list(enumerate(first.to_numpy().tolist(), 1))


def _read_text(path: Path) -> list[tuple[int, list[str]]]:
    content, text = path.read_bytes(), "\0"
    is_utf16 = content.startswith((b"\xff\xfe", b"\xfe\xff"))
    for encoding in ("utf-16",) if is_utf16 else ("cp1252", "utf-8-sig"):
        with suppress(UnicodeDecodeError):
            text, read_as = content.decode(encoding), encoding
    if "\0" in text:
        raise UserError(
            f"{path}: expected a list with the columns path,emotion; this is no text in UTF-8, "
            "UTF-16 or Windows-1252. Save it as 'CSV UTF-8', or as .xlsx"
        )
    if read_as == "cp1252":
        _LOG.warning("%s: not in UTF-8, so it was read as Windows-1252", path)
    first = text.split("\n", 1)[0]
    said = first.strip().lower().startswith("sep=")  # Excel's own first line
    separator = first.strip()[4:5] if said else max(",;\t|", key=first.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator or "\t")
    try:
        return [(reader.line_num, line) for line in reader][said:]
    except csv.Error as error:
        raise UserError(f"{path}: line {reader.line_num}: not a CSV ({error})") from error


def _check_columns(path: Path, header: list[str], columns: list[str]) -> None:
    absent = [name for name in ("path", "emotion") if name not in columns]
    if absent:
        raise UserError(
            f"{path}: no column {' and no column '.join(absent)}; its header is "
            f"{','.join(header)[:100]!r}, expected path,emotion and any of "
            f"{','.join(list(_COLUMNS)[2:])}"
        )
    for name in _COLUMNS:
        same = [cell for cell, column in zip(header, columns, strict=True) if column == name]
        if len(same) > 1:
            raise UserError(
                f"{path}: columns {' and '.join(same)} both mean {name}: keep one of them"
            )
    unknown = [name for name in columns if name and name not in _COLUMNS and name not in _IGNORED]
    if unknown:
        _LOG.warning("%s: columns that are not used: %s", path, ", ".join(unknown))


def _name_clip(file: str, row: dict[str, str]) -> str | None:
    """Path of the clip that a row is, None for times or a channel that are none."""
    start, end, channel = (row[name].replace(",", ".") for name in _WHICH[1:])
    try:
        start_s, end_s = float(start or 0), float(end or "inf")
        index = int({"left": 0, "right": 1}.get(channel, channel or 0))
    except ValueError:
        return None
    if not 0 <= start_s < end_s or index < 0:
        return None
    return name_part(file, start_s, end_s if end else None, index if channel else None)


def _agree(path: Path, same: list[tuple[int, dict]], raters: str) -> dict[str, str]:
    """Labels of a clip from all rows about it, which may not contradict each other."""
    row = {}
    for name in (name for name in _COLUMNS if name not in _WHICH):
        said: dict[str, int] = {}  # and in which row first
        for number, other in same:
            if other[name]:
                said.setdefault(other[name], number)
        if len(said) > 1 and not (name == "emotion" and raters == "share"):
            (one, first), (two, second), *_ = said.items()
            raise UserError(
                f"{path}: {same[0][1]['path']} is {name} {one} in row {first} and {two} in row "
                f"{second}. Keep one of the rows, or say by start_s,end_s or channel_index which "
                "part of the file is meant; where people judged it differently, --raters share"
            )
        row[name] = next(iter(said), "")
    if not row["split"]:
        del row["split"]
    row["channel"] = row["channel"].lower() or "speech"
    if raters == "share":
        votes = Counter(label["emotion"] for _, label in same)
        row["emotion"] = votes.most_common(1)[0][0]
        row["shares"] = json.dumps(votes, ensure_ascii=False)
    return row


def _find_file(folder: Path, written: str, names_in: Callable[[str], dict[str, str]]) -> str | None:
    """Absolute path of a listed file; a Mac decomposes letters, Windows writes backslashes."""
    for text in (written, written.replace("\\", "/")):
        path = os.path.abspath(os.path.join(folder, text))
        if os.path.isfile(path):
            return path
        found = Path(path).anchor
        for part in Path(path).parts[1:]:
            found = names_in(found).get(normalize(part), os.path.join(found, part))
        if os.path.isfile(found):
            return found
    return None


def _composed_names(folder: str) -> dict[str, str]:
    """Path of each entry of a folder, by its name in composed letters."""
    try:
        return {normalize(name): os.path.join(folder, name) for name in os.listdir(folder)}
    except (OSError, ValueError):  # ValueError: a NUL in the name
        return {}
