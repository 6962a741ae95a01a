"""nEMO: four women and five men say 90 Polish sentences in six emotions.

The file name is ``<speaker>_<emotion>_<sentence>``, for example ``EB0_anger_13``. What the
sentences are stands in the publisher's ``data.tsv``; here they have their numbers.
"""

from __future__ import annotations

import re

from helpers.corpora.corpus import Corpus

_EMOTION = {
    "neutral": "neutral",
    "happiness": "happy",
    "sadness": "sad",
    "anger": "angry",
    "fear": "fear",
    "surprised": "surprise",
}
_GENDER = {
    **dict.fromkeys(("EB0", "IC0", "KD0", "MK0"), "female"),
    **dict.fromkeys(("KS0", "MP0", "SM0", "TP0", "WR0"), "male"),
}
_NAME = re.compile(f"({'|'.join(_GENDER)})_({'|'.join(_EMOTION)})_([1-9]|[1-8][0-9]|90)", re.ASCII)


def parse_name(stem: str) -> tuple[str, dict] | None:
    """Read the labels off a file name without suffix, None when it does not follow the rule.

    Examples
    --------
    >>> key, row = parse_name("EB0_anger_13")
    >>> row["speaker"], row["gender"], row["emotion"], row["text"]
    ('nemo-EB0', 'female', 'angry', 'sentence 13')
    >>> parse_name("EB0_anger_91") is None  # no such sentence
    True
    """
    match = _NAME.fullmatch(stem)
    if match is None:
        return None
    speaker, emotion, sentence = match.groups()
    row = {
        "corpus": "nemo",
        "speaker": f"nemo-{speaker}",
        "gender": _GENDER[speaker],
        "emotion": _EMOTION[emotion],
        "text": f"sentence {sentence}",
        "language": "pl",
    }
    return stem, row


CORPUS = Corpus(
    name="nemo",
    title="nEMO, emotional speech in Polish",
    licence="CC BY-NC-SA 4.0",
    citation=(
        "Christop I (2024). nEMO: Dataset of Emotional Speech in Polish. Proc. LREC-COLING, "
        "12111-12116."
    ),
    url="https://github.com/amu-cai/nEMO",
    layout="nemo/samples/EB0_anger_1.wav (4481 files; folder names do not matter)",
    folder="nemo",
    counts=dict(zip(_EMOTION.values(), (809, 749, 769, 749, 736, 669), strict=True)),
    speakers=9,
    parse=parse_name,
    language="Polish",
    voices="nine actors say 90 sentences",
    # One speaker at a time: nine are too few for anything else.
    folds=tuple((f"nemo-{speaker}",) for speaker in sorted(_GENDER)),
    # One state of the publisher's repository.
    archive="https://github.com/amu-cai/nEMO/archive/06f1f83dde8f1a780443a57d53b2af3971af34ab.zip",
    codes=_EMOTION,
)
