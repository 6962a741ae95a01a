"""CREMA-D: 91 actors say twelve sentences in six emotions; the file name carries the labels.

``actor_sentence_emotion_level``, for example ``1001_IEO_ANG_HI``: actor 1001, "It's eleven
o'clock", anger, high. Only that sentence was acted at three levels, and never when neutral; all
other names end in ``XX``. Sex is from the publisher's ``VideoDemographics.csv``.
"""

from __future__ import annotations

import re

from helpers.corpora.corpus import Corpus

_EMOTION = {
    "ANG": "angry",
    "DIS": "disgust",
    "FEA": "fear",
    "HAP": "happy",
    "NEU": "neutral",
    "SAD": "sad",
}
_LEVEL = {"LO": "low", "MD": "medium", "HI": "high", "XX": ""}
_SENTENCE = {
    "DFA": "Don't forget a jacket",
    "IEO": "It's eleven o'clock",
    "IOM": "I'm on my way to the meeting",
    "ITH": "I think I have a doctor's appointment",
    "ITS": "I think I've seen this before",
    "IWL": "I would like a new alarm clock",
    "IWW": "I wonder what this is about",
    "MTI": "Maybe tomorrow it will be cold",
    "TAI": "The airplane is almost full",
    "TIE": "That is exactly what happened",
    "TSI": "The surface is slick",
    "WSI": "We'll stop in a couple of minutes",
}
_WOMEN = frozenset(
    """
    1002 1003 1004 1006 1007 1008 1009 1010 1012 1013 1018 1020 1021 1024 1025 1028 1029 1030
    1037 1043 1046 1047 1049 1052 1053 1054 1055 1056 1058 1060 1061 1063 1072 1073 1074 1075
    1076 1078 1079 1082 1084 1089 1091
    """.split()
)
_NAME = re.compile(
    f"(10(?:0[1-9]|[1-8][0-9]|9[01]))_({'|'.join(_SENTENCE)})_({'|'.join(_EMOTION)})_"
    f"({'|'.join(_LEVEL)})",
    re.ASCII,
)
# The authors' mirror, which they recommend: GitHub limits how often its large files are fetched.
_MIRROR = "https://gitlab.com/cs-cooper-lab/crema-d-mirror"
_COMMIT = "d15eeed6a139e9724483ed9a2fc4643f88708b79"
_MISNAMED = {"1040_ITH_SAD_X": "1040_ITH_SAD_XX"}  # older copies lack the last letter


def parse_name(stem: str) -> tuple[str, dict] | None:
    """Read the labels off a file name without suffix, None when it does not follow the rule.

    Examples
    --------
    >>> key, row = parse_name("1001_IEO_ANG_HI")
    >>> row["speaker"], row["gender"], row["emotion"], row["intensity"]
    ('cremad-1001', 'male', 'angry', 'high')
    >>> parse_name("1001_DFA_ANG_HI") is None  # one level only
    True
    """
    name = _MISNAMED.get(stem, stem)
    match = _NAME.fullmatch(name)
    if match is None:
        return None
    actor, sentence, emotion, level = match.groups()
    if (level != "XX") != (sentence == "IEO" and emotion != "NEU"):
        return None
    row = {
        "corpus": "cremad",
        "speaker": f"cremad-{actor}",
        "gender": "female" if actor in _WOMEN else "male",
        "emotion": _EMOTION[emotion],
        "intensity": _LEVEL[level],
        "text": _SENTENCE[sentence],
        "language": "en",
    }
    return name, row


CORPUS = Corpus(
    name="cremad",
    title="Crowd-sourced Emotional Multimodal Actors Dataset",
    licence="ODbL 1.0",
    citation=(
        "Cao H, Cooper DG, Keutmann MK, Gur RC, Nenkova A, Verma R (2014). CREMA-D: Crowd-sourced "
        "Emotional Multimodal Actors Dataset. IEEE Transactions on Affective Computing 5(4): "
        "377-390."
    ),
    url="https://github.com/CheyneyComputerScience/CREMA-D (folder AudioWAV, needs git-lfs)",
    layout="cremad/AudioWAV/1001_DFA_ANG_XX.wav (7442 files; folder names do not matter)",
    folder="cremad",
    counts={**dict.fromkeys(_EMOTION.values(), 1271), "neutral": 1087},
    speakers=91,
    parse=parse_name,
    language="American English",
    voices="91 actors say twelve sentences",
    heard_by_people=(
        0.409,
        "40.9 %",
        "Cao et al. 2014, IEEE Trans. Affective Computing 5(4): 377-390",
    ),
    # Packed when it is asked for: nobody knows its checksum before.
    archive=f"{_MIRROR}/-/archive/{_COMMIT}/crema-d-mirror-{_COMMIT}.zip?path=AudioWAV",
    kaggle="ejlok1/cremad",
    codes=_EMOTION,
    aliases=("crema",),
)
