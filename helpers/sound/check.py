"""Is a corpus whole, and is anything odd about its clips? Nothing is repaired or left out."""

from __future__ import annotations

from collections.abc import Iterator

import pandas as pd

from helpers.corpora import CORPORA, Listing, Reading, parse_names
from helpers.corpora.labels import AS_WRITTEN
from helpers.corpora.overview import count_missing, find_clips
from helpers.corpora.table import REASONS, name_few
from helpers.parallel import map_clips
from helpers.sound.inspection import check_sound

#: Checks whose findings are clips that are not there, or cannot be used as they are labelled.
FAULTS = {
    "missing": "fewer clips of an emotion, or fewer speakers, than were published",
    "unreadable": "no reader takes it",
    "damaged": "only a part of it decodes, or its channels cancel each other",
    "silent": "never beyond -80 dBFS",
    "conflict": "the same sound as a clip of another emotion",
}
#: Checks whose findings are worth knowing; published corpora have some.
NOTES = {
    **{why: REASONS[why] for why in ("unparsed", "copy", "repeated")},
    "duplicate": "the same sound as another clip of the same emotion",
    "short": "under 0.3 s",
    "quiet": "95 % of its 25 ms frames are below -50 dBFS",
    "clipped": "over 0.1 % of its samples are at full scale, three or more in a row",
}

_Rows = Iterator[tuple[str, str, str]]  # path, check, detail


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
    folder, listing = find_clips(name, reading, make=True)
    clips = listing.clips
    heard = list(map_clips(check_sound, clips["path"], label="Checking clips"))
    rows = list(_missing(name, listing, str(folder)))
    for path, (findings, _) in zip(clips["path"], heard, strict=True):
        rows += [(path, *finding) for finding in findings]
    rows += _same_sounds(clips.assign(sound=[sound for _, sound in heard]))
    unused = listing.left_out[listing.left_out["why"].isin(NOTES)]
    rows += [(path, why, NOTES[why]) for path, why in unused.itertuples(index=False)]
    rows.sort(key=lambda row: (*FAULTS, *NOTES).index(row[1]))
    found = pd.DataFrame(rows, columns=["path", "check", "detail"])
    found.insert(1, "corpus", name if name in CORPORA else clips["corpus"].iloc[0])
    return found, len(clips)


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
