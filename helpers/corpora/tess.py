"""TESS: two actresses, one younger and one older, say 200 words in seven emotions.

The file name is ``<actress>_<word>_<emotion>``, for example ``OAF_back_ps`` (ps: pleasant
surprise). The folders are spelled in two ways in circulation and are not read.
"""

from __future__ import annotations

import re

from helpers.corpora.corpus import Corpus

_EMOTION = {
    "angry": "angry",
    "disgust": "disgust",
    "fear": "fear",
    "happy": "happy",
    "neutral": "neutral",
    "ps": "surprise",
    "sad": "sad",
}
_NAME = re.compile(f"(OAF|YAF)_([a-z]+)_({'|'.join(_EMOTION)})", re.ASCII)
_MISNAMED = {"OA_bite_neutral": "OAF_bite_neutral"}  # as published: the F is missing


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
    name = _MISNAMED.get(stem, stem)
    match = _NAME.fullmatch(name)
    if match is None:
        return None
    actress, word, emotion = match.groups()
    row = {
        "corpus": "tess",
        "speaker": f"tess-{actress}",
        "gender": "female",
        "emotion": _EMOTION[emotion],
        "text": f"Say the word {word}",
        "language": "en",
    }
    return name, row


CORPUS = Corpus(
    name="tess",
    title="Toronto Emotional Speech Set",
    licence="CC BY-NC-ND 4.0",
    citation=(
        "Pichora-Fuller MK, Dupuis K (2020). Toronto emotional speech set (TESS). "
        "Borealis, doi:10.5683/SP2/E8H2MF."
    ),
    url="https://doi.org/10.5683/SP2/E8H2MF",
    layout="tess/OAF_angry/OAF_back_angry.wav (2800 files; folder names do not matter)",
    folder="tess",
    counts=dict.fromkeys(_EMOTION.values(), 400),
    speakers=2,
    parse=parse_name,
    language="Canadian English",
    voices="two actresses say one phrase with 200 words",
    codes=_EMOTION,
    # Packed when it is asked for: nobody knows its checksum before.
    archive=(
        "https://borealisdata.ca/api/access/dataset/:persistentId/"
        "?persistentId=doi:10.5683/SP2/E8H2MF"
    ),
    kaggle="ejlok1/toronto-emotional-speech-set-tess",
    aliases=("TESS Toronto emotional speech set data",),
)
