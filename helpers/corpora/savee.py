"""SAVEE: four Englishmen say 15 sentences in each of seven emotions, twice as many in neutral.

As published the file name holds emotion and sentence number, ``a01``, and the folder the speaker:
``DC/a01.wav``. Copies put all into one folder and the speaker into the name: ``DC_a01.wav``. The
sentences are not in the names, so the column ``text`` is empty.
"""

from __future__ import annotations

import re
from pathlib import Path

from helpers.corpora.corpus import Corpus

_EMOTION = {
    "a": "angry",
    "d": "disgust",
    "f": "fear",
    "h": "happy",
    "n": "neutral",
    "sa": "sad",
    "su": "surprise",
}
_SPEAKERS = ("DC", "JE", "JK", "KL")
_NAME = re.compile(f"({'|'.join(_SPEAKERS)})_({'|'.join(_EMOTION)})(0[1-9]|[12][0-9]|30)", re.ASCII)


def parse_name(name: str) -> tuple[str, dict] | None:
    """Read the labels off ``<speaker>_<emotion><number>``, None when it does not follow the rule.

    Examples
    --------
    >>> key, row = parse_name("DC_sa01")
    >>> row["speaker"], row["emotion"]
    ('savee-DC', 'sad')
    >>> parse_name("DC_sa16") is None  # only neutral has more than 15
    True
    """
    match = _NAME.fullmatch(name)
    if match is None:
        return None
    speaker, emotion, number = match.groups()
    if int(number) > 15 and emotion != "n":
        return None
    row = {
        "corpus": "savee",
        "speaker": f"savee-{speaker}",
        "gender": "male",
        "emotion": _EMOTION[emotion],
        "language": "en",
    }
    return name, row


def full_name(path: Path) -> str:
    """Name of a clip with its speaker, whether that stands in the file name or the folder.

    Examples
    --------
    >>> full_name(Path("AudioData/DC/a01.wav")), full_name(Path("ALL/DC_a01.wav"))
    ('DC_a01', 'DC_a01')
    """
    return path.stem if "_" in path.stem else f"{path.parent.name}_{path.stem}"


CORPUS = Corpus(
    name="savee",
    title="Surrey Audio-Visual Expressed Emotion",
    licence="research use, on request",
    citation=(
        "Haq S, Jackson PJB (2009). Speaker-dependent audio-visual emotion recognition. "
        "Proc. Int. Conf. on Auditory-Visual Speech Processing (AVSP), 53-58."
    ),
    url="http://kahlan.eps.surrey.ac.uk/savee/ (registration)",
    layout="savee/AudioData/DC/a01.wav, or savee/DC_a01.wav with all in one folder (480 files)",
    folder="savee",
    counts={**dict.fromkeys(_EMOTION.values(), 60), "neutral": 120},
    speakers=4,
    parse=parse_name,
    named=full_name,
    language="British English",
    voices="four men read sentences in a studio",
    # By custom it is tested on one speaker at a time.
    folds=tuple((f"savee-{speaker}",) for speaker in _SPEAKERS),
    kaggle="ejlok1/surrey-audiovisual-expressed-emotion-savee",
    codes=_EMOTION,
)
