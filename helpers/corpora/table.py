"""The utterance table: one row per clip, one vocabulary of emotions, labels from file names."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from helpers.columns import UTTERANCES

EMOTIONS = tuple("neutral calm happy sad angry fear disgust surprise boredom".split())
AUDIO_SUFFIXES = frozenset(
    ".wav .flac .mp3 .ogg .opus .aif .aiff .aac .m4a .mp4 .3gp .webm .wma .caf".split()
)
_LOSSY = AUDIO_SUFFIXES - {".wav", ".flac", ".aif", ".aiff", ".caf"}


@dataclass(frozen=True)
class Listing:
    """Clips of a corpus, and files that are not among them.

    Parameters
    ----------
    clips : pd.DataFrame
        Utterance table: columns :data:`helpers.columns.UTTERANCES`, sorted by path, index 0 … n-1;
        and ``split`` where a manifest says the side of every clip.
    left_out : pd.DataFrame
        One row per file, columns ``path`` and ``why``. ``unparsed`` is an audio file not named by
        the rule of the corpus, ``copy`` a further file of a clip, ``missing`` a file that a
        manifest lists and that is not there.
    """

    clips: pd.DataFrame
    left_out: pd.DataFrame

    def paths(self, why: str) -> list[str]:
        """Paths that were left out for one reason: ``unparsed``, ``copy`` or ``missing``."""
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
    """All files under ``root`` with an audio suffix, sorted; hidden ones are left out.

    Links to folders are followed once each. A folder that does not exist gives an empty list.
    """
    found, seen = [], set()
    for folder, subfolders, names in os.walk(os.path.abspath(root), followlinks=True):
        status = os.stat(folder)
        if (status.st_dev, status.st_ino) in seen and status.st_ino:
            subfolders.clear()
            continue
        seen.add((status.st_dev, status.st_ino))
        # Unpacking a Mac's archive elsewhere leaves "._x.wav" files that hold no sound.
        subfolders[:] = sorted(s for s in subfolders if not s.startswith((".", "__MACOSX")))
        found += [
            Path(folder, name)
            for name in names
            if not name.startswith(".") and os.path.splitext(name)[1].lower() in AUDIO_SUFFIXES
        ]
    return sorted(found)


def make_listing(rows: Iterable[dict], left_out: Iterable[tuple[str, str]] = ()) -> Listing:
    """Listing of ``rows`` sorted by path; what a row does not say is empty text.

    Parameters
    ----------
    rows : iterable of dict
        Keys are names of :data:`helpers.columns.UTTERANCES`.
    left_out : iterable of (str, str)
        Path, and why it is left out; see :class:`Listing`.

    Examples
    --------
    >>> listing = make_listing([{"path": "/a.wav", "corpus": "x", "emotion": "sad"}])
    >>> listing.clips.loc[0, ["emotion", "channel", "gender"]].tolist()
    ['sad', 'speech', '']
    """
    defaults = {**dict.fromkeys(UTTERANCES, ""), "channel": "speech", "duration_s": float("nan")}
    types = {**dict.fromkeys(UTTERANCES, "str"), "duration_s": "float64"}
    clips = pd.DataFrame([{**defaults, **row} for row in rows], columns=UTTERANCES).astype(types)
    clips = clips.sort_values("path", kind="stable", ignore_index=True)
    return Listing(clips, pd.DataFrame(left_out, columns=["path", "why"], dtype="str"))


def merge_listings(listings: Iterable[Listing]) -> Listing:
    """One listing of several, sorted by path again.

    Two corpora that share a folder leave out the same files, which are listed once. The column
    ``split`` is dropped where some clips have no side.
    """
    listings = list(listings)
    clips = pd.concat([listing.clips for listing in listings])
    clips = clips.sort_values("path", kind="stable", ignore_index=True)
    if "split" in clips and clips["split"].isna().any():
        clips = clips.drop(columns="split")
    left_out = pd.concat([listing.left_out for listing in listings], ignore_index=True)
    return Listing(clips, left_out.drop_duplicates(ignore_index=True))


def list_by_file_name(
    files: Iterable[Path],
    *,
    corpus: str,
    parse: Callable[[str], tuple[str, dict] | None],
    named: Callable[[Path], str],
) -> Listing:
    """Listing of a corpus whose labels are in its file names; folders do not matter.

    A clip that lies in several folders, or as both WAV and FLAC, counts once.

    Parameters
    ----------
    files : iterable of Path
        Audio files of the corpus, and perhaps of others: a folder may hold several.
    corpus : str
        Rows of this corpus are kept.
    parse, named : callable
        As in :class:`helpers.corpora.corpus.Corpus`.
    """
    rows, left_out = {}, []
    # CREMA-D has an MP3 beside each WAV, some blank. Among equals the shallowest copy wins, so that
    # a second unpacking below it changes nothing.
    found = [(path.suffix.lower() in _LOSSY, len(path.parts), path) for path in files]
    for _, _, path in sorted(found):
        parsed = parse(named(path))
        if parsed is None:
            left_out.append((str(path), "unparsed"))
            continue
        key, row = parsed
        if row["corpus"] != corpus:
            continue
        if key in rows:
            left_out.append((str(path), "copy"))
        else:
            rows[key] = {"path": str(path), **row}
    return make_listing(rows.values(), left_out)
