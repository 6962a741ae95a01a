"""Is a corpus whole, and is anything odd about its clips? Nothing is repaired or left out."""

from __future__ import annotations

from collections.abc import Iterator

import pandas as pd

from helpers.corpora import CORPORA, Listing, Reading, parse_names
from helpers.corpora.labels import AS_WRITTEN
from helpers.corpora.overview import count_missing, find_clips
from helpers.corpora.table import REASONS, name_few
from helpers.sound.inspection import measure_clips

_SHORT_S, _QUIET_DBFS = 0.3, -40
#: Checks whose findings are clips that are not there, or cannot be used as they are labelled.
FAULTS = {
    "missing": "fewer clips of an emotion, or fewer speakers, than were published",
    "unreadable": "no reader takes it",
    "damaged": "only a part of it decodes, or its channels cancel each other",
    "conflict": "the same file under several emotions",
}
#: Checks whose findings are worth knowing; published corpora have some.
NOTES = {
    **{why: REASONS[why] for why in ("unparsed", "copy", "repeated")},
    "duplicate": "the same file several times under one emotion",
    "short": f"under {_SHORT_S} s",
    "quiet": f"its peak is below {_QUIET_DBFS} dBFS",
}

_Rows = Iterator[tuple[str, str, str]]  # path, check, detail


def validate_corpus(name: str, reading: Reading = AS_WRITTEN) -> tuple[pd.DataFrame, int]:
    """Decode every clip of a corpus, in parallel, and list what is odd or wrong.

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
    folder, listing = find_clips(name, reading, make=True)
    clips = listing.clips
    heard = pd.concat([clips[["path", "emotion"]], measure_clips(clips["path"])], axis=1)
    rows = [*_missing(name, listing, str(folder)), *_odd(heard), *_same_files(heard)]
    unused = listing.left_out[listing.left_out["why"].isin(NOTES)]
    rows += [(path, why, NOTES[why]) for path, why in unused.itertuples(index=False)]
    rows.sort(key=lambda row: (*FAULTS, *NOTES).index(row[1]))
    found = pd.DataFrame(rows, columns=["path", "check", "detail"])
    found.insert(1, "corpus", name if name in CORPORA else clips["corpus"].iloc[0])
    return found, len(clips)


def _odd(heard: pd.DataFrame) -> _Rows:
    for clip in heard.itertuples():
        if clip.error:
            yield clip.path, "unreadable", clip.error.removeprefix(f"{clip.path}: ")
        if clip.note:
            yield clip.path, "damaged", clip.note
        if clip.duration_s < _SHORT_S:
            yield clip.path, "short", f"{clip.duration_s:.3f} s"
        if clip.peak_dbfs < _QUIET_DBFS:
            yield clip.path, "quiet", f"its peak is {clip.peak_dbfs:.1f} dBFS"


def _same_files(heard: pd.DataFrame) -> _Rows:
    shared = heard[(heard["error"] == "") & heard.duplicated("sha256", keep=False)]
    for _, group in shared.groupby("sha256", sort=False):
        named = name_few([f"{clip.path} ({clip.emotion})" for clip in group.itertuples()])
        check = "duplicate" if group["emotion"].nunique() == 1 else "conflict"
        yield group["path"].iloc[0], check, f"one file, {len(group)} times: {named}"


def _missing(name: str, listing: Listing, folder: str) -> _Rows:
    if name not in CORPORA:
        for path in listing.paths("missing"):
            yield path, "missing", "listed, but not there"
        return
    corpus, speakers = CORPORA[name], sorted(set(listing.clips["speaker"]))
    if not speakers:
        yield folder, "missing", f"all {corpus.n_clips} clips of {corpus.speakers} speakers"
        return
    for emotion, (there, n) in count_missing(name, listing).items():
        yield folder, "missing", f"{emotion}: {there} of {n} clips"
    if len(speakers) < corpus.speakers:
        detail = f"{len(speakers)} of {corpus.speakers} speakers: only {', '.join(speakers)}"
        yield folder, "missing", detail
