"""TESS: two actresses, one younger and one older, say 200 words in seven emotions.

The file name is ``<actress>_<word>_<emotion>``, for example ``OAF_back_ps`` (ps: pleasant
surprise). The folders are spelled in two ways in circulation and are not read.
"""

from __future__ import annotations

import re
from pathlib import Path

import pandas as pd

from helpers.corpora.table import Corpus, Dataverse, table_by_file_name

_EMOTION = {
    "angry": "angry",
    "disgust": "disgust",
    "fear": "fear",
    "happy": "happy",
    "neutral": "neutral",
    "ps": "surprise",
    "sad": "sad",
}
# A word that is not in the list would be a misspelling, or another corpus.
_WORDS = frozenset(
    """
    back bar base bath bean beg bite boat bone book bought burn cab calm came cause chain
    chair chalk chat check cheek chief choice cool dab date dead death deep dime dip ditch
    dodge dog doll door fail fall far fat fit five food gap gas gaze germ get gin goal good
    goose gun half hall hash hate have haze hire hit hole home hurl hush jail jar join judge
    jug juice keen keep keg kick kill king kite knock late laud lean learn lease lid life
    limb live loaf long lore lose lot love luck make match merge mess met mill mob mode mood
    moon mop mouse nag name near neat nice note numb pad page pain pass pearl peg perch
    phone pick pike pole pool puff rag raid rain raise rat reach read red ring ripe road
    room rose rot rough rush said sail search seize sell shack shall shawl sheep shirt
    should shout size soap soup sour south sub such sure take talk tape team tell thin third
    thought thumb time tip tire ton tool tough turn vine voice void vote wag walk wash week
    wheat when which whip white wife wire witch yearn yes young youth
    """.split()
)
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
    if match is None or match[2] not in _WORDS:
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
    counts=dict.fromkeys(_EMOTION.values(), 400),
    speakers=2,
    load=load,
    codes=_EMOTION,
    dataverse=Dataverse("https://borealisdata.ca", "doi:10.5683/SP2/E8H2MF"),
    kaggle="ejlok1/toronto-emotional-speech-set-tess",
    aliases=("TESS Toronto emotional speech set data",),
    language="Canadian English",
    voices="two actresses say one phrase with 200 words",
)
