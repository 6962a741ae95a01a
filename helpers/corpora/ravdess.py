"""RAVDESS: 24 actors speak and sing two sentences; the file name carries every label.

``modality-channel-emotion-intensity-statement-repetition-actor``, two digits each, for example
``03-01-06-01-02-01-12``: audio only, speech, fear, normal, "Dogs…", first repetition, actor 12.
"""

from __future__ import annotations

import re
from pathlib import Path

import pandas as pd

from helpers.corpora.table import Corpus, Remote, table_by_file_name

_EMOTION = {
    "01": "neutral",
    "02": "calm",
    "03": "happy",
    "04": "sad",
    "05": "angry",
    "06": "fear",
    "07": "disgust",
    "08": "surprise",
}
_EMOTIONS = tuple(_EMOTION.values())
_INTENSITY = {"01": "normal", "02": "strong"}
_STATEMENT = {"01": "Kids are talking by the door", "02": "Dogs are sitting by the door"}
_PART = {"01": ("ravdess", "speech"), "02": ("ravdess-song", "song")}
_AUDIO_ONLY = "03"
# fullmatch and [0-9]: "\d" would also take digits of other scripts, "$" a trailing newline.
_NAME = re.compile(
    "(0[123])-(0[12])-(0[1-8])-(0[12])-(0[12])-(0[12])-(0[1-9]|1[0-9]|2[0-4])", re.ASCII
)


def parse_name(stem: str) -> tuple[str, dict] | None:
    """Read the labels off a file name without suffix, None when it does not follow the rule.

    Examples
    --------
    >>> key, row = parse_name("03-01-06-01-02-01-12")
    >>> row["emotion"], row["speaker"], row["gender"]
    ('fear', 'ravdess-12', 'female')
    >>> parse_name("03-01-01-02-01-01-01") is None  # neutral was not recorded in strong
    True
    """
    match = _NAME.fullmatch(stem)
    if match is None:
        return None
    modality, channel, emotion, intensity, statement, _, actor = match.groups()
    never_recorded = (emotion == "01" and intensity == "02") or (
        channel == "02" and (emotion in ("07", "08") or actor == "18")
    )
    if never_recorded:
        return None
    corpus, channel = _PART[channel]
    row = {
        # The video files of the same set belong to no part of ours.
        "corpus": corpus if modality == _AUDIO_ONLY else "",
        "speaker": f"ravdess-{actor}",
        "gender": "male" if int(actor) % 2 else "female",
        "emotion": _EMOTION[emotion],
        "intensity": _INTENSITY[intensity],
        "text": _STATEMENT[statement],
        "channel": channel,
        "language": "en",
    }
    return stem, row


def load_speech(root: Path) -> pd.DataFrame:
    """Utterance table of the speech part under ``root``."""
    return table_by_file_name(root, corpus="ravdess", parse=parse_name)


def load_song(root: Path) -> pd.DataFrame:
    """Utterance table of the song part under ``root``."""
    return table_by_file_name(root, corpus="ravdess-song", parse=parse_name)


_ABOUT = {
    "licence": "CC BY-NC-SA 4.0",
    "citation": (
        "Livingstone SR, Russo FA (2018). The Ryerson Audio-Visual Database of Emotional Speech "
        "and Song (RAVDESS). PLoS ONE 13(5): e0196391."
    ),
    "folder": "ravdess",
    "language": "North American English",
}
_FILES = "https://zenodo.org/records/1188976/files"
SPEECH = Corpus(
    name="ravdess",
    title="RAVDESS, speech part",
    url="https://doi.org/10.5281/zenodo.1188976 (Audio_Speech_Actors_01-24.zip)",
    layout="""
ravdess/Actor_01/03-01-01-01-01-01-01.wav
ravdess/Actor_01/03-01-…
ravdess/Actor_24/03-01-…
(1440 files, WAV or FLAC; further folders in between do no harm)""",
    counts={"neutral": 96, **dict.fromkeys(_EMOTIONS[1:], 192)},
    speakers=24,
    load=load_speech,
    codes=_EMOTION,
    voices="24 actors say two sentences in a studio",
    heard_by_people=(
        0.60,
        "about 60 %",
        "Livingstone & Russo 2018, PLoS ONE 13(5): e0196391",
    ),
    kaggle="uwrfkaggler/ravdess-emotional-speech-audio",
    remotes=(
        Remote(
            url=f"{_FILES}/Audio_Speech_Actors_01-24.zip",
            checksum="md5:bc696df654c87fed845eb13823edef8a",
            size=208_468_073,
        ),
    ),
    **_ABOUT,
)
SONG = Corpus(
    name="ravdess-song",
    title="RAVDESS, song part",
    url="https://doi.org/10.5281/zenodo.1188976 (Audio_Song_Actors_01-24.zip)",
    layout="""
ravdess/Actor_01/03-02-01-01-01-01-01.wav
ravdess/Actor_01/03-02-…
ravdess/Actor_24/03-02-…
(1012 files, WAV or FLAC, none of actor 18; beside the speech part or without it)""",
    counts={"neutral": 92, **dict.fromkeys(_EMOTIONS[1:6], 184)},
    speakers=23,
    load=load_song,
    codes={code: emotion for code, emotion in _EMOTION.items() if code <= "06"},
    voices="23 actors sing two sentences in a studio",
    kaggle="uwrfkaggler/ravdess-emotional-song-audio",
    remotes=(
        Remote(
            url=f"{_FILES}/Audio_Song_Actors_01-24.zip",
            checksum="md5:5411230427d67a21e18aa4d466e6d1b9",
            size=225_505_317,
        ),
    ),
    **_ABOUT,
)
