"""CREMA-D, RAVDESS speech, SAVEE and TESS side by side, as one archive on Kaggle has them.

Not a corpus of its own: each clip keeps the name of its corpus, so that published folds hold. The
same clips are found under their own names when ``SER_DATA`` is the folder that holds all four.
"""

from __future__ import annotations

from collections import Counter

from helpers.corpora import cremad, ravdess, savee, tess
from helpers.corpora.corpus import Corpus

_PARTS = (cremad.CORPUS, ravdess.SPEECH, savee.CORPUS, tess.CORPUS)

CORPUS = Corpus(
    name="four-in-one",
    title="CREMA-D, RAVDESS speech, SAVEE and TESS together",
    licence="; ".join(f"{part.name}: {part.licence}" for part in _PARTS),
    citation=" ".join(part.citation for part in _PARTS),
    url="each corpus from its publisher",
    layout="four-in-one/Crema/1001_DFA_ANG_XX.wav, …/Ravdess, …/Savee, …/Tess (12162 files)",
    folder="four-in-one",
    counts=sum((Counter(part.counts) for part in _PARTS), Counter()),
    speakers=sum(part.speakers for part in _PARTS),
    kaggle="dmitrybabko/speech-emotion-recognition-en",
    parts=_PARTS,
)
