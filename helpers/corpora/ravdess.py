"""RAVDESS: 24 actors speak and sing two sentences; the file name carries every label.

``modality-channel-emotion-intensity-statement-repetition-actor``, two digits each, for example
``03-01-06-01-02-01-12``: audio only, speech, fear, normal, "Dogs…", first repetition, actor 12.
"""

from __future__ import annotations

import re

from helpers.corpora.corpus import Corpus

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


#: Test actors, fold by fold, as used by the EmoBox benchmark (arXiv 2406.07162).
_FOLDS = (
    (1, 11, 20, 21),
    (4, 10, 12, 14),
    (8, 9, 19, 23),
    (3, 5, 7, 24),
    (2, 15, 16, 18),
    (6, 13, 17, 22),
)
_ABOUT: dict = {
    "licence": "CC BY-NC-SA 4.0",
    "citation": (
        "Livingstone SR, Russo FA (2018). The Ryerson Audio-Visual Database of Emotional Speech "
        "and Song (RAVDESS). PLoS ONE 13(5): e0196391."
    ),
    "folder": "ravdess",
    "parse": parse_name,
    "language": "North American English",
    "folds": tuple(tuple(f"ravdess-{actor:02d}" for actor in fold) for fold in _FOLDS),
}
_FILES = "https://zenodo.org/records/1188976/files"
SPEECH = Corpus(
    name="ravdess",
    title="RAVDESS, speech part",
    url="https://doi.org/10.5281/zenodo.1188976 (Audio_Speech_Actors_01-24.zip)",
    layout="ravdess/Actor_01/03-01-01-01-01-01-01.wav (1440 files; folder names do not matter)",
    counts={"neutral": 96, **dict.fromkeys(_EMOTIONS[1:], 192)},
    speakers=24,
    voices="24 actors say two sentences in a studio",
    heard_by_people=(0.60, "about 60 %", "Livingstone & Russo 2018, PLoS ONE 13(5): e0196391"),
    codes=_EMOTION,
    kaggle="uwrfkaggler/ravdess-emotional-speech-audio",
    archive=f"{_FILES}/Audio_Speech_Actors_01-24.zip",
    checksum="md5:bc696df654c87fed845eb13823edef8a",
    **_ABOUT,
)
SONG = Corpus(
    name="ravdess-song",
    title="RAVDESS, song part",
    url="https://doi.org/10.5281/zenodo.1188976 (Audio_Song_Actors_01-24.zip)",
    layout="ravdess/Actor_01/03-02-01-01-01-01-01.wav (1012 files, none of actor 18)",
    counts={"neutral": 92, **dict.fromkeys(_EMOTIONS[1:6], 184)},
    speakers=23,
    voices="23 actors sing two sentences in a studio",
    codes={code: emotion for code, emotion in _EMOTION.items() if code <= "06"},
    kaggle="uwrfkaggler/ravdess-emotional-song-audio",
    archive=f"{_FILES}/Audio_Song_Actors_01-24.zip",
    checksum="md5:5411230427d67a21e18aa4d466e6d1b9",
    **_ABOUT,
)
