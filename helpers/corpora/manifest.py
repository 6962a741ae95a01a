"""Your own recordings: a CSV that lists them, or a folder with one folder per emotion.

The corpus is called like the CSV (without suffix) or the folder. Emotion names are your own, in any
script; the names of :data:`helpers.corpora.EMOTIONS` are recognised in any case, all others are
kept as written (``Wut`` and ``wut`` are two).

Say who speaks whenever you can. Clips without a speaker all belong to one speaker called
``<corpus>-unknown``: where no clip has a speaker, a test on people whom the model has never heard
is impossible. Where some have one, the others stand on no side of it: see
:func:`find_unnamed`.
"""

from __future__ import annotations

import csv
import io
import os
import unicodedata
from pathlib import Path

import pandas as pd

from helpers.columns import RESERVED
from helpers.corpora.table import EMOTIONS, Listing, find_audio, make_listing
from helpers.errors import UserError

UNKNOWN_SPEAKER = "unknown"
_REQUIRED = ("path", "emotion")
_OPTIONAL = ("speaker", "gender", "intensity", "text", "channel", "language", "split")
_SIDES = {
    "": "",
    "train": "train",
    "validation": "validation",
    "val": "validation",
    "valid": "validation",
    "dev": "validation",
    "test": "test",
}
_GENDER = {"f": "female", "w": "female", "m": "male"}


def load_manifest(path: str | Path) -> Listing:
    """List the clips of a CSV.

    Parameters
    ----------
    path : path
        CSV in UTF-8 with a header. Columns ``path`` (relative to the CSV, or absolute) and
        ``emotion``, and any of ``speaker gender intensity text channel language split``; others
        are ignored. Separated by ``,``, ``;`` or tabs. ``split`` says on which side a clip is:
        ``train``, ``validation`` or ``test``.

    Returns
    -------
    Listing
        Files of the CSV that are not there are left out as ``missing``. The clips have a further
        column ``split`` if the CSV says the side of every clip.

    Raises
    ------
    UserError
        Not a CSV in UTF-8, a column missing, a row without path or emotion (the message has the
        row numbers, the header is row 1), one file under two emotions, an emotion called like a
        column, a side that is none of the three or given for some rows only, or no listed file
        exists.
    """
    path = Path(os.path.abspath(path))
    name = _nfc(path.stem)
    listed = _read_rows(path)
    _refuse_rows(path, "an empty path", [n for n, row in listed if not row["path"]])
    _refuse_rows(path, "an empty emotion", [n for n, row in listed if not row["emotion"]])
    has_sides = _check_sides(path, listed)
    rows, missing, contradicting = {}, [], []
    for number, row in listed:
        clip = _existing(path.parent, row["path"])
        if clip is None:
            missing.append((os.path.join(path.parent, row["path"]), "missing"))
            continue
        row["emotion"] = _emotion(row["emotion"])
        known = rows.setdefault(clip, row)
        if known["emotion"] != row["emotion"]:
            contradicting.append(number)
    _refuse_rows(path, "another emotion than an earlier row of the same file", contradicting)
    if not rows:
        raise UserError(
            f"{path}: none of its {len(listed)} files is there, e.g. {missing[0][0]}. Paths in the "
            "CSV are relative to the folder of the CSV"
        )
    _refuse_reserved(path, rows.values())
    clips = ({**row, "path": clip, **_own(name, row)} for clip, row in rows.items())
    listing = make_listing(clips, missing)
    if has_sides:
        sides = [_SIDES[rows[clip]["split"].lower()] for clip in listing.clips["path"]]
        listing.clips["split"] = sides
    return listing


def load_folders(root: str | Path) -> Listing:
    """List the clips ``<root>/<emotion>/clip.wav`` or ``<root>/<emotion>/<speaker>/clip.wav``.

    Parameters
    ----------
    root : path
        The names of its folders are the emotions. Files in further folders below the speaker's
        belong to that speaker.

    Returns
    -------
    Listing
        Audio files that lie in no emotion's folder are left out as ``unparsed``.

    Raises
    ------
    UserError
        No folder with audio files in it, or an emotion called like a column.
    """
    root = Path(os.path.abspath(root))
    name = _nfc(root.name)
    rows, unparsed = [], []
    for clip in find_audio(root):
        folders = [_nfc(part) for part in clip.relative_to(root).parts[:-1]]
        if not folders:
            unparsed.append((str(clip), "unparsed"))
            continue
        row = {"path": str(clip), "emotion": _emotion(folders[0])}
        rows.append(row | _own(name, {"speaker": folders[1] if len(folders) > 1 else ""}))
    if not rows:
        raise UserError(
            f"{root}: expected one folder per emotion with audio files in it, such as "
            f"{root.name}/happy/clip.wav; found {len(unparsed)} audio files, none in a folder. "
            "Sort them into folders, or list them in a CSV with the columns path,emotion"
        )
    _refuse_reserved(root, rows)
    return make_listing(rows, unparsed)


def find_unnamed(clips: pd.DataFrame) -> pd.Series:
    """Mask of the clips that name no speaker, in corpora where others do.

    Nobody knows who speaks in them: perhaps a person of the test side. So they are no further
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
    """Rows of the CSV with their line numbers; every optional column is there, perhaps empty."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(
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
        raise UserError(f"{path}: line {reader.line_num}: not a CSV ({error})") from error
    absent = [column for column in _REQUIRED if column not in columns]
    if absent:
        raise UserError(
            f"{path}: no column {' and no column '.join(absent)}; its header is {header[:100]!r}, "
            f"expected path,emotion and any of {','.join(_OPTIONAL)}"
        )
    lines = [(number, line) for number, line in lines if any(line)]
    if not lines:
        raise UserError(f"{path}: a header without rows, expected one row per clip")
    # A comma in an unquoted text shifts all later cells: wrong labels, not just a long row.
    shifted = [number for number, line in lines if any(line[len(columns) :])]
    _refuse_rows(path, "more cells than the header (quote cells that hold a separator)", shifted)
    return [(number, _read_cells(columns, line)) for number, line in lines]


def _read_cells(columns: list[str], line: list[str]) -> dict[str, str]:
    row = dict.fromkeys(_REQUIRED + _OPTIONAL, "")
    for column, cell in zip(columns, line, strict=False):  # a short row leaves its last ones empty
        if column in row:
            row[column] = cell
    return row


def _check_sides(path: Path, listed: list[tuple[int, dict[str, str]]]) -> bool:
    """Whether the rows say the sides of their clips; refuses sides that do not exist or lack."""
    written = [(number, row["split"].lower()) for number, row in listed]
    why = f"another split than {', '.join(filter(None, _SIDES))}"
    _refuse_rows(path, why, [number for number, side in written if side not in _SIDES])
    has_sides = any(side for _, side in written)
    if has_sides:
        _refuse_rows(path, "no split, as others have", [n for n, side in written if not side])
    return has_sides


def _refuse_rows(path: Path, why: str, numbers: list[int]) -> None:
    if numbers:
        shown = ", ".join(map(str, numbers[:10])) + (", …" if len(numbers) > 10 else "")
        raise UserError(f"{path}: {len(numbers)} rows with {why}: row {shown} (header is row 1)")


def _refuse_reserved(path: Path, rows: list[dict]) -> None:
    names = {row["emotion"] for row in rows} & RESERVED
    if names:
        raise UserError(
            f"{path}: emotions may not be called {', '.join(sorted(names))}, which are columns of "
            "the project's tables, as an emotion is; rename them"
        )


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
