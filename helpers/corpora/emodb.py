"""EmoDB: five women and five men say ten German sentences in seven emotions.

The file name is speaker, sentence, emotion and version without separators, for example
``03a01Wa``: speaker 03, sentence a01, anger (*Wut*), first version.
"""

from __future__ import annotations

import re

from helpers.corpora.corpus import Corpus

_EMOTION = {  # Wut, Langeweile, Ekel, Angst, Freude, Trauer
    "W": "angry",
    "L": "boredom",
    "E": "disgust",
    "A": "fear",
    "F": "happy",
    "T": "sad",
    "N": "neutral",
}
_GENDER = {
    **dict.fromkeys(("03", "10", "11", "12", "15"), "male"),
    **dict.fromkeys(("08", "09", "13", "14", "16"), "female"),
}
_SENTENCE = {
    "a01": "Der Lappen liegt auf dem Eisschrank",
    "a02": "Das will sie am Mittwoch abgeben",
    "a04": "Heute Abend könnte ich es ihm sagen",
    "a05": "Das schwarze Stück Papier befindet sich da oben neben dem Holzstück",
    "a07": "In sieben Stunden wird es soweit sein",
    "b01": "Was sind denn das für Tüten, die da unter dem Tisch stehen?",
    "b02": "Sie haben es gerade hochgetragen und jetzt gehen sie wieder runter",
    "b03": "An den Wochenenden bin ich jetzt immer nach Hause gefahren und habe Agnes besucht",
    "b09": "Ich will das eben wegbringen und dann mit Karl was trinken gehen",
    "b10": "Die wird auf dem Platz sein, wo wir sie immer hinlegen",
}
_NAME = re.compile(
    f"({'|'.join(_GENDER)})({'|'.join(_SENTENCE)})([{''.join(_EMOTION)}])([a-f])", re.ASCII
)


def parse_name(stem: str) -> tuple[str, dict] | None:
    """Read the labels off a file name without suffix, None when it does not follow the rule.

    Examples
    --------
    >>> key, row = parse_name("03a01Wa")
    >>> row["speaker"], row["gender"], row["emotion"], row["text"]
    ('emodb-03', 'male', 'angry', 'Der Lappen liegt auf dem Eisschrank')
    >>> parse_name("03a03Wa") is None  # no such sentence
    True
    """
    match = _NAME.fullmatch(stem)
    if match is None:
        return None
    speaker, sentence, emotion, _ = match.groups()
    row = {
        "corpus": "emodb",
        "speaker": f"emodb-{speaker}",
        "gender": _GENDER[speaker],
        "emotion": _EMOTION[emotion],
        "text": _SENTENCE[sentence],
        "language": "de",
    }
    return stem, row


CORPUS = Corpus(
    name="emodb",
    title="Berlin Database of Emotional Speech",
    licence="CC0 1.0",
    citation=(
        "Burkhardt F, Paeschke A, Rolfes M, Sendlmeier W, Weiss B (2005). A database of German "
        "emotional speech. Proc. Interspeech, 1517-1520."
    ),
    url="http://emodb.bilderbar.info/download/download.zip",
    layout="emodb/wav/03a01Fa.wav (535 files; folder names do not matter)",
    folder="emodb",
    counts=dict(zip(_EMOTION.values(), (127, 81, 46, 69, 71, 62, 79), strict=True)),
    speakers=10,
    parse=parse_name,
    language="German",
    voices="ten actors say ten sentences in a studio",
    # By custom it is tested on one speaker at a time.
    folds=tuple((f"emodb-{speaker}",) for speaker in sorted(_GENDER)),
    archive="http://emodb.bilderbar.info/download/download.zip",
    kaggle="piyushagni5/berlin-database-of-emotional-speech-emodb",
    codes=_EMOTION,
)
