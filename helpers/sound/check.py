"""Is a corpus complete, and are its clips what their labels say? Every sample is looked at.

Nothing is repaired or left out: what a finding means for a study is for a person to decide.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from helpers.parallel import map_clips
from helpers.sound.audio import AudioError, load_audio
from helpers.sound.survey import find_clips, read_header

if TYPE_CHECKING:
    import pandas as pd

    from helpers.corpora import Corpus

#: Checks whose findings are clips that are not there, or cannot be used as they are labelled.
FAULTS = {
    "missing": "fewer clips of an emotion, or fewer speakers, than were published",
    "unreadable": "no reader takes it, or it is cut off or damaged",
    "silent": "never beyond -80 dBFS",
    "conflict": "the same sound as a clip of another emotion",
    "mislabelled-by-folder": "its folder is named after another emotion or speaker",
}
#: Checks whose findings are worth knowing; published corpora have some.
NOTES = {
    "unparsed": "not named by the corpus' rule, so not used",
    "copy": "a further file of a clip, so not used",
    "duplicate": "the same sound as another clip of the same emotion",
    "short": "under 0.3 s",
    "quiet": "95 % of its 25 ms frames are below -50 dBFS",
    "clipped": "over 0.1 % of its samples are at full scale, three or more in a row",
}
SILENT_DBFS = -80.0
QUIET_DBFS = -50.0
SHORT_S = 0.3
CLIPPED_SHARE = 0.001

_FULL_SCALE = 32767 / 32768  # the largest 16-bit sample
_SHOWN = 5
_NOUNS = {
    **{"anger": "angry", "bored": "boredom", "disgusted": "disgust", "fearful": "fear"},
    **{"happiness": "happy", "joy": "happy", "sadness": "sad", "surprised": "surprise"},
}
_NUMBERED = re.compile(r"(?:actor|speaker|subject)[ _-]*([0-9]+)", re.ASCII | re.IGNORECASE)
_WORD = re.compile(r"[^\W_]+")
_Rows = Iterator[tuple[str, str, str]]  # path, check, detail


def validate_corpus(name: str, *, n_jobs: int = -1) -> pd.DataFrame:
    """Decode every clip of a corpus, in parallel, and list what is odd or wrong.

    Parameters
    ----------
    name : str
        Name of :data:`helpers.corpora.CORPORA`, or path of own data.
    n_jobs : int
        Processes, -1 for one a core.

    Returns
    -------
    DataFrame
        A row a finding, columns ``path corpus check detail``; the checks are those of
        :data:`FAULTS`, then :data:`NOTES`. ``attrs["clips"]`` is the number of clips.

        Two sounds are the same when their samples are, rounded to 16 bits: format and equal
        channels make no difference.

    Raises
    ------
    helpers.corpora.CorpusError
        An unknown name, or own data that cannot be read as such. A bad clip never raises.
    """
    import pandas as pd

    from helpers.corpora import parse_names

    (name,) = parse_names([name])
    corpus, folder, table = find_clips(name, make=True)
    sounds = map_clips(_check_sound, table["path"], n_jobs=n_jobs, label="Checking clips")
    heard = dict(zip(table["path"], sounds, strict=True))
    rows = [
        *_missing(corpus, table, str(folder)),
        *((path, *finding) for path, (found, _) in heard.items() for finding in found),
        *_same_sounds(table.assign(sound=[sound for _, sound in heard.values()])),
        *_contradicting_folders(corpus, table, folder),
        *((path, "unparsed", "not named by the corpus' rule") for path in table.attrs["unparsed"]),
        *_copies(table),
    ]
    rows.sort(key=lambda row: (*FAULTS, *NOTES).index(row[1]))
    label = name if corpus else table["corpus"].iloc[0]
    found = pd.DataFrame(
        [(path, label, *rest) for path, *rest in rows],
        columns=["path", "corpus", "check", "detail"],
    )
    found.attrs["clips"] = len(table)
    return found


def _check_sound(path: str) -> tuple[list[tuple[str, str]], str]:
    """Findings on one clip, and a hash of its samples, which is empty without sound."""
    duration_s = np.nan
    try:
        # At its own rate: resampling takes most of the time, and rounds off what is clipped.
        sr, duration_s = read_header(path)
        y = load_audio(path, sr=sr)
    except Exception as error:  # reported in the table: one bad clip must not stop thousands
        refused = error.found if isinstance(error, AudioError) else ""
        if refused.startswith("digital silence"):
            return [*_short(duration_s), ("silent", refused)], ""
        found = _short(duration_s) if refused.endswith("ms of sound") else []
        text = str(error) if refused else repr(error)
        return [*found, ("unreadable", text.removeprefix(f"{path}: "))], ""
    found = _short(len(y) / sr)
    swing = 20 * np.log10(np.ptp(y) / 2)  # not the peak: a constant is no sound either
    if swing < SILENT_DBFS:
        return [*found, ("silent", f"never beyond {swing:.1f} dBFS")], ""
    level = _loud_level(y, round(0.025 * sr))
    if level < QUIET_DBFS:
        found.append(("quiet", f"{level:.1f} dBFS where it is loudest"))
    share = _clipped_share(y)
    if share > CLIPPED_SHARE:
        found.append(("clipped", f"{share:.2%} of the samples at full scale"))
    return found, hashlib.sha256(np.rint(y * 32768).astype(np.int32)).hexdigest()


def _short(duration_s: float) -> list[tuple[str, str]]:
    return [("short", f"{duration_s:.3f} s")] if duration_s < SHORT_S else []


def _loud_level(y: np.ndarray, size: int) -> float:
    """Level in dBFS that one frame in twenty exceeds; half a clip may be pauses."""
    frames = y[: len(y) // size * size].reshape(-1, size)
    power = np.einsum("ij,ij->i", frames, frames) / size
    return float(10 * np.log10(np.quantile(power, 0.95) + 1e-12))


def _clipped_share(y: np.ndarray) -> float:
    """Share of the samples that are at full scale, three or more in a row."""
    full = np.abs(y) >= _FULL_SCALE
    three = full[:-2] & full[1:-1] & full[2:]
    # A sample counts when any of the threes that it belongs to is full.
    return float(np.convolve(three, np.ones(3)).astype(bool).mean()) if three.any() else 0.0


def _same_sounds(clips: pd.DataFrame) -> _Rows:
    shared = clips[(clips["sound"] != "") & clips.duplicated("sound", keep=False)]
    for _, group in shared.groupby("sound", sort=False):
        for clip in group.itertuples():
            others = group[group["path"] != clip.path]
            contrary = others[others["emotion"] != clip.emotion]
            if len(contrary):
                named = [f"{row.path} ({row.emotion})" for row in contrary.itertuples()]
                detail = f"{clip.emotion}, but the same sound is another emotion: {_few(named)}"
                yield clip.path, "conflict", detail
            elif len(others):
                yield clip.path, "duplicate", f"same sound as {_few(others['path'])}"


def _copies(table: pd.DataFrame) -> _Rows:
    for path in table.attrs.get("duplicates", ()):
        used = [kept for kept in table["path"] if Path(kept).stem == Path(path).stem]
        # SAVEE's names are unique within a folder only.
        yield path, "copy", f"not used: {used[0] if len(used) == 1 else 'the clip is there'}"


def _missing(corpus: Corpus | None, table: pd.DataFrame, folder: str) -> _Rows:
    if corpus is None:
        yield from ((path, "missing", "listed, but not there") for path in table.attrs["missing"])
        return
    if table.empty:
        yield folder, "missing", f"all {corpus.n_clips} clips of {corpus.speakers} speakers"
        return
    speakers = sorted(set(table["speaker"]))
    for emotion, expected in corpus.counts.items():
        found = table.loc[table["emotion"] == emotion, "speaker"].value_counts()
        found = found.reindex(speakers, fill_value=0)
        if found.sum() < expected:
            # Where all recorded the same number, it shows who lacks some.
            each = 0 if expected % corpus.speakers else expected // corpus.speakers
            lacking = [f"{who} {n} of {each}" for who, n in found.items() if n < each]
            detail = f"{emotion}: {found.sum()} of {expected} clips"
            yield folder, "missing", detail + (f" ({_few(lacking)})" if lacking else "")
    if len(speakers) < corpus.speakers:
        detail = f"{len(speakers)} of {corpus.speakers} speakers: only {', '.join(_runs(speakers))}"
        yield folder, "missing", detail


def _contradicting_folders(corpus: Corpus | None, clips: pd.DataFrame, root: Path) -> _Rows:
    from helpers.corpora import EMOTIONS

    named = _NOUNS | {emotion.lower(): emotion for emotion in (*EMOTIONS, *clips["emotion"])}
    for code, emotion in (corpus.codes if corpus else {}).items():
        if len(code) > 1 and code.isalpha():  # "a" or "03" may mean anything in a folder's name
            named[code.lower()] = emotion
    known = {_own_id(corpus, clip) for clip in clips.itertuples()}
    for clip in clips.itertuples():
        path, who = Path(clip.path), _own_id(corpus, clip)
        # A manifest may list files that lie elsewhere.
        folders = path.relative_to(root).parts[:-1] if path.is_relative_to(root) else ()
        numbers = {str(int(found[1])) for found in map(_NUMBERED.fullmatch, folders) if found}
        lower = [name.lower() for name in folders]
        words = {*numbers, *lower, *(word for name in lower for word in _WORD.findall(name))}
        emotions = {named[word] for word in words if word in named}
        if emotions and clip.emotion not in emotions:
            detail = f"folder says {_few(sorted(emotions))}, label is {clip.emotion}"
            yield clip.path, "mislabelled-by-folder", detail
        others = numbers if who.isdecimal() else {w for w in words & known if not w.isdecimal()}
        if others and who not in words:
            detail = f"folder says speaker {_few(sorted(others))}, label is {clip.speaker}"
            yield clip.path, "mislabelled-by-folder", detail


def _own_id(corpus: Corpus | None, clip: tuple) -> str:
    """``ravdess-03`` → ``3``: what a folder may be called after."""
    prefix = clip.corpus if corpus is None else clip.speaker.partition("-")[0]
    own = clip.speaker.removeprefix(f"{prefix}-").lower()
    return str(int(own)) if own.isdecimal() else own


def _few(names: Iterable[str]) -> str:
    names = list(names)
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more


def _runs(names: list[str]) -> list[str]:
    """``a-01, a-02, a-03, b`` → ``a-01 … a-03, b``."""
    runs: list[list[str]] = []
    for name in names:
        stem, number = re.fullmatch(r"(.*?)([0-9]*)", name, re.DOTALL).groups()
        before = f"{stem}{int(number) - 1:0{len(number)}}" if number else None
        if runs and runs[-1][-1] == before:
            runs[-1].append(name)
        else:
            runs.append([name])
    return [run[0] if len(run) == 1 else f"{run[0]} … {run[-1]}" for run in runs]
