"""TESS: two actresses, one younger and one older, say 200 words in seven emotions.

The file name is ``<actress>_<word>_<emotion>``, for example ``OAF_back_ps`` (ps: pleasant
surprise). The folders are spelled in two ways in circulation and are not read.
"""

from __future__ import annotations

import re
from pathlib import Path

import pandas as pd

from helpers.corpora._base import Corpus, table_by_file_name

_EMOTION = {
    "angry": "angry",
    "disgust": "disgust",
    "fear": "fear",
    "happy": "happy",
    "neutral": "neutral",
    "ps": "surprise",
    "sad": "sad",
}
# One published file is called OA_bite_neutral: the F is missing.
_SPEAKER = {"OAF": "tess-OAF", "OA": "tess-OAF", "YAF": "tess-YAF"}
_NAME = re.compile(f"({'|'.join(_SPEAKER)})_([a-z]+)_({'|'.join(_EMOTION)})", re.ASCII)


def parse_name(stem: str) -> tuple[str, dict] | None:
    """Read the labels off a file name without suffix, None when it does not follow the rule.

    Examples
    --------
    >>> key, row = parse_name("OA_bite_neutral")
    >>> row["speaker"], row["text"], row["emotion"]
    ('tess-OAF', 'Say the word bite', 'neutral')
    >>> parse_name("OAF_bite_bored") is None
    True
    """
    match = _NAME.fullmatch(stem)
    if match is None:
        return None
    actress, word, emotion = match.groups()
    row = {
        "corpus": "tess",
        "speaker": _SPEAKER[actress],
        "gender": "female",
        "emotion": _EMOTION[emotion],
        "text": f"Say the word {word}",
        "language": "en",
    }
    return f"{_SPEAKER[actress]}_{word}_{emotion}", row


def load(root: Path) -> pd.DataFrame:
    """Utterance table of TESS under ``root``."""
    return table_by_file_name(root, corpus="tess", parse=parse_name)


CORPUS = Corpus(
    name="tess",
    title="Toronto Emotional Speech Set",
    licence="CC BY-NC-ND 4.0",
    citation=(
        "Pichora-Fuller MK, Dupuis K (2020). Toronto emotional speech set (TESS). "
        "Borealis, doi:10.5683/SP2/E8H2MF."
    ),
    url="https://doi.org/10.5683/SP2/E8H2MF",
    layout="""
tess/OAF_angry/OAF_back_angry.wav
tess/OAF_angry/…
tess/YAF_sad/YAF_young_sad.wav
(2800 files, WAV or FLAC; folder names do not matter, file names do)""",
    folder="tess",
    n_clips=2800,
    load=load,
)
