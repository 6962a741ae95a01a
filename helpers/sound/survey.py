"""Which corpora are there, how much of each, and how long: by file names and headers alone."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import soundfile

from helpers.sound.audio import SAMPLE_RATE, AudioError, load_audio

if TYPE_CHECKING:
    import pandas as pd

    from helpers.corpora import Corpus

_UNKNOWN_FRAMES = 2**62  # who records into a pipe leaves 0 in the header, or nearly 2**63


def survey_corpora(names: Iterable[str] = ()) -> pd.DataFrame:
    """How much of each corpus is there, by file names and headers; nothing is made.

    Parameters
    ----------
    names : iterable of str
        Names of :data:`helpers.corpora.CORPORA` and paths of own data; all of the former if empty.

    Returns
    -------
    DataFrame
        A row a corpus: ``corpus clips expected_clips speakers expected_speakers hours licence
        state``. Nothing is expected of own data. The state is ``complete``, ``n missing``,
        ``not there``, ``made at first use`` or ``own data``.

    Raises
    ------
    helpers.corpora.CorpusError
        A name that is neither known nor a path, or own data that cannot be read as such.

    Examples
    --------
    >>> survey_corpora(["tess"])[["corpus", "expected_clips", "expected_speakers"]].values.tolist()
    [['tess', 2800, 2]]
    """
    import pandas as pd  # here, and so on: processes that decode start sooner without it

    from helpers.corpora import CORPORA, parse_names

    rows = []
    for name in parse_names(list(names) or CORPORA):
        corpus, _, table = find_clips(name, make=False)
        rows.append(
            {
                "corpus": name if corpus else table["corpus"].iloc[0],
                "clips": len(table),
                "expected_clips": corpus and corpus.n_clips,
                "speakers": table["speaker"].nunique(),
                "expected_speakers": corpus and corpus.speakers,
                # One after the other: threads get in each other's way at so small a task.
                "hours": float(np.nansum([_duration_s(path) for path in table["path"]])) / 3600,
                "licence": corpus.licence if corpus else "yours to know",
                "state": _state(corpus, table),
            }
        )
    return pd.DataFrame(rows).astype({"expected_clips": "Int64", "expected_speakers": "Int64"})


def find_clips(name: str, *, make: bool) -> tuple[Corpus | None, Path, pd.DataFrame]:
    """What is known of a corpus, its folder, and its clips, of which there may be none.

    Parameters
    ----------
    name : str
        Name of :data:`helpers.corpora.CORPORA`, or path of own data.
    make : bool
        Whether a generated corpus may make itself now.
    """
    from helpers.corpora import CORPORA, CorpusNotFoundError, find_audio, load_corpora, locate
    from helpers.corpora.table import utterance_table
    from helpers.runs import data_home

    corpus = CORPORA.get(name)
    if corpus is None:
        path = Path(name)
        return None, path.parent if path.is_file() else path, load_corpora([name])
    try:
        folder = locate(corpus)
    except CorpusNotFoundError:
        return corpus, data_home() / corpus.folder, utterance_table([], unparsed=[])
    if corpus.generated and not make and len(find_audio(folder)) < corpus.n_clips:
        return corpus, folder, utterance_table([], unparsed=[])
    return corpus, folder, corpus.load(folder)


def _state(corpus: Corpus | None, table: pd.DataFrame) -> str:
    if corpus is None:
        absent = len(table.attrs["missing"])
        return f"{absent} missing" if absent else "own data"
    if table.empty:
        return "made at first use" if corpus.generated else "not there"
    found = table["emotion"].value_counts()
    absent = sum(max(n - found.get(emotion, 0), 0) for emotion, n in corpus.counts.items())
    return f"{absent} missing" if absent else "complete"


def read_header(path: str) -> tuple[int, float]:
    """Sample rate in Hz and length in s as the header says.

    The length is NaN where only decoding tells it, and the rate then perhaps that of the project.

    Examples
    --------
    >>> read_header("/none.wav")
    (16000, nan)
    """
    try:
        info = soundfile.info(path)
    except (soundfile.SoundFileError, TypeError, OSError):  # a format of PyAV's, or no sound
        return SAMPLE_RATE, np.nan
    return info.samplerate, info.duration if 0 < info.frames < _UNKNOWN_FRAMES else np.nan


def _duration_s(path: str) -> float:
    duration_s = read_header(path)[1]
    if np.isfinite(duration_s):
        return duration_s
    try:
        return len(load_audio(path)) / SAMPLE_RATE
    except AudioError:  # a clip without sound; `validate_corpus` says what is wrong with it
        return np.nan
