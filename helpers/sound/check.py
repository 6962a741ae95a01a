"""Which corpora are there, are they whole, and is anything odd about their clips?

:func:`survey_corpora` reads file names and headers, :func:`validate_corpus` decodes every clip.
Nothing is repaired or left out.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd

from helpers.corpora import CORPORA, Corpus, Listing, Reading, load_listing, locate, parse_names
from helpers.corpora.labels import AS_WRITTEN, EMOTION_OF
from helpers.corpora.table import name_few
from helpers.parallel import map_clips
from helpers.parts import name_file
from helpers.sound.audio import SAMPLE_RATE, AudioError, load_audio
from helpers.sound.inspection import check_sound, read_header

#: Checks whose findings are clips that are not there, or cannot be used as they are labelled.
FAULTS = {
    "missing": "fewer clips of an emotion, or fewer speakers, than were published",
    "unreadable": "no reader takes it",
    "damaged": "only a part of it decodes, or its channels cancel each other",
    "silent": "never beyond -80 dBFS",
    "conflict": "the same sound as a clip of another emotion",
    "mislabelled-by-folder": "its folder is named after another emotion",
}
#: Checks whose findings are worth knowing; published corpora have some.
NOTES = {
    "unparsed": "no label in its name or folders, so not used",
    "copy": "a further file of a clip, so not used",
    "repeated": "listed more than once, and used once",
    "duplicate": "the same sound as another clip of the same emotion",
    "short": "under 0.3 s",
    "quiet": "95 % of its 25 ms frames are below -50 dBFS",
    "clipped": "over 0.1 % of its samples are at full scale, three or more in a row",
}

_WORD = re.compile(r"[^\W_]+")
_Rows = Iterator[tuple[str, str, str]]  # path, check, detail


def survey_corpora(names: Iterable[str] = (), reading: Reading = AS_WRITTEN) -> pd.DataFrame:
    """How much of each corpus is there, by file names and headers; nothing is made.

    Parameters
    ----------
    names : iterable of str
        Names of :data:`helpers.corpora.CORPORA` and paths of own data; all of the former if empty.
    reading : helpers.corpora.Reading
        How labels are read.

    Returns
    -------
    DataFrame
        One row per corpus: ``corpus clips expected_clips speakers expected_speakers hours licence
        state``. Nothing is expected of own data. The state is ``complete``, ``n missing``,
        ``not there``, ``made at first use`` or ``own data``.

    Raises
    ------
    helpers.errors.UserError
        A name that is neither known nor a path, or own data that cannot be read as such.

    Examples
    --------
    >>> survey_corpora(["tess"])["expected_clips"].tolist()
    [2800]
    """
    rows = []
    for name in parse_names(list(names) or CORPORA):
        corpus, _, listing = _list_clips(name, reading, make=False)
        clips = listing.clips
        # One after the other: threads get in each other's way at so small a task.
        durations_s = [_duration_s(path) for path in clips["path"]]
        rows.append(
            {
                "corpus": name if corpus else clips["corpus"].iloc[0],
                "clips": len(clips),
                "expected_clips": corpus and corpus.n_clips,
                "speakers": clips["speaker"].nunique(),
                "expected_speakers": corpus and corpus.speakers,
                "hours": float(np.nansum(durations_s)) / 3600,
                "licence": corpus.licence if corpus else "yours to know",
                "state": _state(corpus, listing),
            }
        )
    return pd.DataFrame(rows).astype({"expected_clips": "Int64", "expected_speakers": "Int64"})


def validate_corpus(name: str, reading: Reading = AS_WRITTEN) -> tuple[pd.DataFrame, int]:
    """Decode every clip of a corpus, in parallel, and list what is odd or wrong.

    Two sounds are the same when their samples are, rounded to 16 bits: format and equal channels
    make no difference.

    Parameters
    ----------
    name : str
        Name of :data:`helpers.corpora.CORPORA`, or path of own data.
    reading : helpers.corpora.Reading
        How labels are read.

    Returns
    -------
    findings : DataFrame
        One row per finding, columns ``path corpus check detail``; the checks are those of
        :data:`FAULTS`, then :data:`NOTES`.
    n_clips : int
        Clips that were decoded.

    Raises
    ------
    helpers.errors.UserError
        An unknown name, or own data that cannot be read as such. A bad clip never raises.
    """
    (name,) = parse_names([name])
    corpus, folder, listing = _list_clips(name, reading, make=True)
    clips = listing.clips
    heard = list(map_clips(check_sound, clips["path"], label="Checking clips"))
    rows = list(_missing(corpus, listing, str(folder)))
    for path, (findings, _) in zip(clips["path"], heard, strict=True):
        rows += [(path, *finding) for finding in findings]
    rows += _same_sounds(clips.assign(sound=[sound for _, sound in heard]))
    rows += _contradicting_folders(clips, folder)
    unused = listing.left_out[listing.left_out["why"].isin(NOTES)]
    rows += [(path, why, NOTES[why]) for path, why in unused.itertuples(index=False)]
    rows.sort(key=lambda row: (*FAULTS, *NOTES).index(row[1]))
    found = pd.DataFrame(rows, columns=["path", "check", "detail"])
    found.insert(1, "corpus", name if corpus else clips["corpus"].iloc[0])
    return found, len(clips)


def _list_clips(name: str, reading: Reading, *, make: bool) -> tuple[Corpus | None, Path, Listing]:
    """A corpus, its folder and its clips; ``make`` allows a generated one to make itself."""
    if name not in CORPORA:
        path = Path(name)
        return None, path.parent if path.is_file() else path, load_listing(name, reading)
    folder = locate(CORPORA[name])
    return CORPORA[name], folder, CORPORA[name].load(folder, make=make)


def _state(corpus: Corpus | None, listing: Listing) -> str:
    if corpus is None:
        absent = len(listing.paths("missing"))
        return f"{absent} missing" if absent else "own data"
    if listing.clips.empty:
        return "made at first use" if corpus.generated else "not there"
    found = listing.clips["emotion"].value_counts()
    absent = sum(max(n - found.get(emotion, 0), 0) for emotion, n in corpus.counts.items())
    return f"{absent} missing" if absent else "complete"


def _duration_s(path: str) -> float:
    _, duration_s = read_header(path)
    if np.isnan(duration_s) and os.path.isfile(name_file(path)):
        try:
            return len(load_audio(path)) / SAMPLE_RATE
        except AudioError:  # a clip without sound; `validate_corpus` says what is wrong with it
            return np.nan
    return duration_s


def _same_sounds(clips: pd.DataFrame) -> _Rows:
    shared = clips[(clips["sound"] != "") & clips.duplicated("sound", keep=False)]
    for _, group in shared.groupby("sound", sort=False):
        for clip in group.itertuples():
            others = group[group["path"] != clip.path]
            contrary = others[others["emotion"] != clip.emotion]
            if len(contrary):
                named = [f"{row.path} ({row.emotion})" for row in contrary.itertuples()]
                detail = f"{clip.emotion}, but the same sound is another emotion: {name_few(named)}"
                yield clip.path, "conflict", detail
            else:
                yield clip.path, "duplicate", f"same sound as {name_few(others['path'])}"


def _missing(corpus: Corpus | None, listing: Listing, folder: str) -> _Rows:
    clips = listing.clips
    if corpus is None:
        for path in listing.paths("missing"):
            yield path, "missing", "listed, but not there"
        return
    if clips.empty:
        yield folder, "missing", f"all {corpus.n_clips} clips of {corpus.speakers} speakers"
        return
    counts = clips["emotion"].value_counts()
    for emotion, expected in corpus.counts.items():
        if counts.get(emotion, 0) < expected:
            detail = f"{emotion}: {counts.get(emotion, 0)} of {expected} clips"
            yield folder, "missing", detail
    speakers = sorted(set(clips["speaker"]))
    if len(speakers) < corpus.speakers:
        detail = f"{len(speakers)} of {corpus.speakers} speakers: only {', '.join(speakers)}"
        yield folder, "missing", detail


def _contradicting_folders(clips: pd.DataFrame, root: Path) -> _Rows:
    for clip in clips.itertuples():
        path = Path(clip.path)
        if not path.is_relative_to(root):  # a manifest may list files that lie elsewhere
            continue
        folders = [name.lower() for name in path.relative_to(root).parts[:-1]]
        words = {*folders, *(word for name in folders for word in _WORD.findall(name))}
        emotions = {EMOTION_OF[word] for word in words if word in EMOTION_OF}
        if emotions and not {clip.emotion, EMOTION_OF.get(clip.emotion.lower())} & emotions:
            detail = f"folder says {name_few(sorted(emotions))}, label is {clip.emotion}"
            yield clip.path, "mislabelled-by-folder", detail
