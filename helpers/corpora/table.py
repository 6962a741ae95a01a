"""The utterance table: one row per clip, one vocabulary of emotions, labels from file names."""

from __future__ import annotations

import logging
import os
import re
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from helpers.columns import UTTERANCES

EMOTIONS = tuple("neutral calm happy sad angry fear disgust surprise boredom".split())
#: Suffixes of what is decoded here; what is in a file decides how.
AUDIO_SUFFIXES = frozenset(
    ".wav .flac .mp3 .ogg .oga .opus .aif .aiff .aifc .aac .m4a .m4b .mp4 .3gp .webm .weba .wma "
    ".mka .mkv .mov .caf .amr .au .snd .w64 .rf64".split()
)
#: Suffixes of files that often lie beside recordings; they are not worth a warning.
COMPANIONS = frozenset(
    ".txt .md .csv .tsv .xlsx .xls .json .xml .html .pdf .doc .docx .rtf .lab .textgrid .png .jpg "
    ".jpeg .gif .svg .ini .db .zip .py .ipynb .yml .yaml .log .npy .pkl".split()
)
UNKNOWN_SPEAKER = "unknown"
#: Why a file is not among the clips, in words.
REASONS = {
    "missing": "not there",
    "unparsed": "no label in their names or folders",
    "copy": "a further file of a clip",
    "repeated": "listed more than once",
    "emotion": "of other emotions",
    "other": "not read as audio",
}
_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Listing:
    """Clips of a corpus, and files that are not among them.

    Parameters
    ----------
    clips : pd.DataFrame
        Utterance table: columns :data:`helpers.columns.UTTERANCES`, sorted by path, index 0 … n-1;
        ``split`` where folders or a list say the set of every clip, and ``shares`` where raters
        disagreed. A part of a file has a path such as ``a.wav#t=1.5,3``.
    left_out : pd.DataFrame
        One row per file, columns ``path`` and ``why``, a key of :data:`REASONS`.
    """

    clips: pd.DataFrame
    left_out: pd.DataFrame

    def paths(self, why: str) -> list[str]:
        """Paths that were left out for one of the :data:`REASONS`."""
        return self.left_out.loc[self.left_out["why"] == why, "path"].tolist()


def class_order(labels: Iterable[str]) -> list[str]:
    """Distinct labels in display order: :data:`EMOTIONS` first, then own names sorted.

    Examples
    --------
    >>> class_order(["sad", "Freude", "neutral", "sad"])
    ['neutral', 'sad', 'Freude']
    """
    labels = set(labels)
    return [e for e in EMOTIONS if e in labels] + sorted(labels.difference(EMOTIONS))


def find_audio(root: str | Path) -> list[Path]:
    """All files under ``root`` with an audio suffix, sorted; see :func:`find_files`."""
    return find_files(root)[0]


def find_files(root: str | Path) -> tuple[list[Path], list[Path]]:
    """Files under ``root`` that are read as audio, and all others; hidden ones are left out.

    Both are sorted. Links to folders are followed once each. A folder that does not exist gives
    empty lists, one that may not be read a warning.
    """
    found: list[Path] = []
    others: list[Path] = []
    seen = set()
    walk = os.walk(os.path.abspath(root), followlinks=True, onerror=_say_unreadable)
    for folder, subfolders, names in walk:
        status = os.stat(folder)
        if (status.st_dev, status.st_ino) in seen and status.st_ino:
            subfolders.clear()
            continue
        seen.add((status.st_dev, status.st_ino))
        # Unpacking a Mac's archive elsewhere leaves "._x.wav" files that hold no sound.
        subfolders[:] = sorted(s for s in subfolders if not s.startswith((".", "__MACOSX")))
        for name in names:
            is_audio = os.path.splitext(name)[1].lower() in AUDIO_SUFFIXES
            if not name.startswith("."):
                (found if is_audio else others).append(Path(folder, name))
    return sorted(found), sorted(others)


def _say_unreadable(error: OSError) -> None:
    if not isinstance(error, FileNotFoundError):
        _LOG.warning("left out a folder that may not be read: %s", error.filename)


def name_few(names: Iterable[object], n: int = 3) -> str:
    """The first names of many, for a message.

    Examples
    --------
    >>> name_few("abcde")
    'a, b, c, …'
    """
    texts = [str(name) for name in names]
    return ", ".join(texts[:n]) + (", …" if len(texts) > n else "")


def make_listing(rows: Iterable[dict], left_out: Iterable[tuple[str, str]] = ()) -> Listing:
    """Listing of ``rows`` sorted by path; what a row does not say is empty text.

    Parameters
    ----------
    rows : iterable of dict
        Keys are names of :data:`helpers.columns.UTTERANCES`, and ``split`` or ``shares`` where all
        rows have them.
    left_out : iterable of (str, str)
        Path, and why it is left out; see :class:`Listing`.

    Examples
    --------
    >>> listing = make_listing([{"path": "/a.wav", "corpus": "x", "emotion": "sad"}])
    >>> listing.clips.loc[0, ["emotion", "channel", "gender"]].tolist()
    ['sad', 'speech', '']
    """
    rows = list(rows)
    further = [name for name in ("split", "shares") if rows and name in rows[0]]
    columns = [*UTTERANCES, *further]
    defaults = {**dict.fromkeys(columns, ""), "channel": "speech", "duration_s": float("nan")}
    types = {**dict.fromkeys(columns, "str"), "duration_s": "float64"}
    clips = pd.DataFrame([{**defaults, **row} for row in rows], columns=columns).astype(types)
    clips = clips.sort_values("path", kind="stable", ignore_index=True)
    return Listing(clips, pd.DataFrame(left_out, columns=["path", "why"], dtype="str"))


def name_own(name: str, rows: Iterable[dict], left_out: Iterable[tuple[str, str]]) -> Listing:
    """Listing of own data called ``name``; a speaker of several spellings becomes one person.

    ``01`` and ``1``, or ``Anna`` and ``anna``, would else stand in both sets of a split by
    speaker. The most frequent spelling stays, and a warning names the others.
    """
    rows = list(rows)
    spelled: dict[str, Counter] = defaultdict(Counter)
    for row in rows:
        spelled[_person(row["speaker"])][row["speaker"]] += 1
    for spellings in spelled.values():
        if len(spellings) > 1:
            shown = ", ".join(f"{written!r} ({n} clips)" for written, n in spellings.most_common())
            _LOG.warning("%s: took speakers of similar names for one person: %s", name, shown)
    for row in rows:
        speaker = spelled[_person(row["speaker"])].most_common(1)[0][0]
        row |= {"corpus": name, "speaker": f"{name}-{speaker or UNKNOWN_SPEAKER}"}
    return make_listing(rows, left_out)


def _person(speaker: str) -> str:
    """Speakers whose names differ in case, leading zeros or separators only are one person."""
    words = re.findall(r"[^\W_]+", speaker.casefold())
    return " ".join(re.sub(r"0+(?=\d)", "", word) for word in words) or speaker


def merge_listings(listings: Iterable[Listing]) -> Listing:
    """One listing of several, sorted by path again.

    Two corpora that share a folder leave out the same files, which are listed once. The column
    ``split`` is dropped where some clips have no set.
    """
    listings = list(listings)
    clips = pd.concat([listing.clips for listing in listings])
    clips = clips.sort_values("path", kind="stable", ignore_index=True)
    if "split" in clips and clips["split"].isna().any():
        clips = clips.drop(columns="split")
    left_out = pd.concat([listing.left_out for listing in listings], ignore_index=True)
    return Listing(clips, left_out.drop_duplicates(ignore_index=True))
