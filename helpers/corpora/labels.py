"""Words for emotions and for sides, and what a user says about the labels of own recordings."""

from __future__ import annotations

import json
import os
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from helpers.corpora.table import EMOTIONS
from helpers.errors import UserError

#: Words that mean an emotion of the project: English, short codes of published corpora, and the
#: first words that German, French, Spanish, Italian, Polish, Russian, Chinese and Japanese speakers
#: would call a folder. They tell which folders are emotions; a label stays as it is written unless
#: another clip has the project's word for the same.
_WORDS = {
    "neutral": "neutrality neu ntr neutro neutre neutrale neutralny нейтральный нейтрально 中性",
    "calm": "calmness calmly clm ruhig calme calma tranquilo spokojny спокойный 冷静",
    "happy": "happiness happily joy joyful hap fröhlich freude glücklich heureux joie feliz "
    "felicidad alegre alegría felice felicità gioia radość szczęście wesoły радость счастье 高兴 "
    "开心 快乐 喜び 嬉しい",
    "sad": "sadness sadly sorrow traurig trauer triste tristesse tristeza tristezza smutek smutny "
    "грусть печаль 悲伤 悲しみ 悲しい",
    "angry": "anger angrily mad rage ang wütend wut ärger colère fâché enfadado enojado ira rabia "
    "arrabbiato rabbia złość gniew zły злость гнев 愤怒 生气 怒り 怒",
    "fear": "fearful afraid scared fea angst ängstlich peur miedo paura strach страх 恐惧 害怕",
    "disgust": "disgusted dis ekel dégoût asco disgusto wstręt obrzydzenie отвращение 厌恶 嫌悪",
    "surprise": "surprised surprising ps sur überrascht überraschung sorpresa zaskoczenie "
    "удивление 惊讶 驚き",
    "boredom": "bored bor langeweile gelangweilt ennui aburrimiento noia nuda скука 无聊",
}
_SIDES = {
    "train": "train training trn",
    "validation": "validation validate val valid dev devel development",
    "test": "test testing tst eval evaluation",
}
_GENDERS = {"female": "f w female woman women females", "male": "m male man men males"}
_INTENSITIES = {name: "" for name in "low normal medium strong high".split()}
#: Words beside the one that counts: ``training set``, ``happy clips``, ``Pleasant_surprise``.
_FILLERS = frozenset(
    "set data dataset split folder audio clips files wav wavs voice speech recordings samples "
    "emotion pleasant pleasantly".split()
)
_WORD = re.compile(r"[^\W_]+")
RATERS = ("refuse", "share")


def _look_up(table: dict[str, str]) -> dict[str, str]:
    return {word: name for name, words in table.items() for word in (name, *words.split())}


#: Emotion that each word means.
EMOTION_OF = _look_up(_WORDS)
_SIDE_OF = _look_up(_SIDES)
_GENDER_OF = _look_up(_GENDERS)


@dataclass(frozen=True)
class Reading:
    """How the labels of recordings are to be read. The defaults suit most folders and lists.

    Parameters
    ----------
    pattern : str
        Labels in file names of a folder, such as ``{speaker}_{emotion}_{}``; ``{}`` is any text.
        Without ``/`` it is compared with the file name without suffix, else with the path below
        the folder.
    emotions : str
        Comma-separated; only clips of these are kept. Empty for all.
    mapping : str
        ``anger=angry,joy=happy``, or the path of a text file with one such pair per line.
    raters : {"refuse", "share"}
        What to do where rows of a list disagree about a clip: refuse them, or keep the share of
        each emotion in the column ``shares`` and the most frequent one as the label.

    Raises
    ------
    UserError
        A mapping that is none, or another word for ``raters``.
    """

    pattern: str = ""
    emotions: str = ""
    mapping: str = ""
    raters: str = "refuse"

    def __post_init__(self) -> None:
        if self.raters not in RATERS:
            raise UserError(f"raters {self.raters!r}: expected one of {', '.join(RATERS)}")
        self.renamed()

    def renamed(self) -> dict[str, str]:
        """New name of each emotion that ``mapping`` names."""
        text = self.mapping
        try:
            is_file = os.path.isfile(text) or (text and "=" not in text)
            lines = Path(text).read_text("utf-8-sig").splitlines() if is_file else text.split(",")
        except (OSError, UnicodeDecodeError) as error:
            raise UserError(
                f"map {text!r}: expected pairs such as anger=angry,joy=happy, or a text file in "
                f"UTF-8 with one pair per line ({error})"
            ) from error
        lines = [line.strip() for line in lines if line.strip() and not line.startswith("#")]
        pairs = [[normalize(word) for word in line.split("=", 1)] for line in lines]
        for line, pair in zip(lines, pairs, strict=True):
            if len(pair) < 2 or not all(pair):
                raise UserError(f"map {line!r}: expected a pair such as anger=angry")
        return dict(pairs)

    def kept(self) -> list[str]:
        """Emotions to keep; empty for all."""
        return [name.strip() for name in self.emotions.split(",") if name.strip()]


#: Labels as the folders or the list have them.
AS_WRITTEN = Reading()


def normalize(text: str) -> str:
    """Composed letters (NFC), no blanks at the ends: what is equal to the eye is equal."""
    return unicodedata.normalize("NFC", text).strip()


def read_emotion(text: str) -> str:
    """Label as written, or the project's word where only its case differs."""
    text = normalize(text)
    return text.lower() if text.lower() in EMOTIONS else text


def read_side(text: str) -> str | None:
    """``train``, ``validation`` or ``test``, or None for a text that names none of them.

    Examples
    --------
    >>> read_side("Training set"), read_side("dev"), read_side("anna")
    ('train', 'validation', None)
    """
    words = [word for word in _words(text) if word not in _FILLERS]
    return _SIDE_OF.get(words[0]) if len(words) == 1 else None


def read_field(name: str, text: str) -> str:
    """A label of any kind in our words: for a gender or side the usual ones; no such side is "".

    Examples
    --------
    >>> read_field("gender", "W"), read_field("gender", "Divers"), read_field("split", "dev")
    ('female', 'divers', 'validation')
    """
    text = normalize(text)
    if name == "emotion":
        return read_emotion(text)
    if name == "gender":
        return _GENDER_OF.get(text.lower(), text.lower())
    return (read_side(text) or "") if name == "split" else text


def find_emotion(text: str) -> tuple[str, str] | None:
    """The one word for an emotion in a name, as written, and the rest; None if there is none.

    Examples
    --------
    >>> find_emotion("Happiness"), find_emotion("spk1_angry"), find_emotion("Actor_01")
    (('Happiness', ''), ('angry', 'spk1'), None)
    """
    text = normalize(text)
    if text.casefold() in EMOTION_OF:
        return text, ""
    words = [word for word in _WORD.findall(text) if word.casefold() not in _FILLERS]
    # A number behind the word counts takes: happy2.
    hits = [word for word in words if word.casefold().rstrip("0123456789") in EMOTION_OF]
    if len(hits) != 1:
        return None
    rest = " ".join(word for word in words if word != hits[0])
    return hits[0].rstrip("0123456789"), rest


def find_facts(text: str) -> dict[str, str]:
    """Gender and intensity that a name says by a word of its own.

    Examples
    --------
    >>> find_facts("Male_strong"), find_facts("anna")
    ({'gender': 'male', 'intensity': 'strong'}, {})
    """
    facts = {}
    for word in _words(text):
        if word in _GENDER_OF:
            facts["gender"] = _GENDER_OF[word]
        elif word in _INTENSITIES:
            facts["intensity"] = word
    return facts


def unify_labels(clips: pd.DataFrame, keep: Iterable[str] = ()) -> tuple[pd.DataFrame, dict]:
    """One label for what means the same: ``Wut`` beside ``wut``, ``anger`` beside ``angry``.

    Words that mean the same are left alone where one corpus has both: it tells them apart.

    Parameters
    ----------
    clips : pd.DataFrame
        Utterance table; ``corpus`` and ``emotion`` are read.
    keep : iterable of str
        Labels that stay as they are, since the user chose them.

    Returns
    -------
    clips : pd.DataFrame
    renamed : dict of str to str
        Old and new label, for a message; empty where nothing meant the same.

    Examples
    --------
    >>> clips = pd.DataFrame({"corpus": ["a", "b", "b"], "emotion": ["anger", "angry", "Ekel"]})
    >>> clips, renamed = unify_labels(clips)
    >>> clips["emotion"].tolist(), renamed
    (['angry', 'angry', 'Ekel'], {'anger': 'angry'})
    """
    # The most frequent spelling of a word stays; among words, the project's own.
    counts = clips["emotion"].value_counts()
    labels = sorted(counts.index, key=lambda label: (label not in EMOTIONS, -counts[label], label))
    where = clips.groupby("emotion")["corpus"].agg(set)
    renamed = {}
    for place, label in enumerate(labels):
        for earlier in labels[:place]:
            same = label.casefold() == earlier.casefold()
            means_same = _meaning(label) == _meaning(earlier) and not where[label] & where[earlier]
            if (same or means_same) and label not in keep and earlier not in renamed:
                renamed[label] = earlier
                break
    return rename_emotions(clips, renamed), renamed


def rename_emotions(clips: pd.DataFrame, renamed: dict[str, str]) -> pd.DataFrame:
    """Utterance table with other names for some emotions, in ``shares`` too."""
    clips = clips.assign(emotion=clips["emotion"].replace(renamed))
    if "shares" in clips:
        clips["shares"] = [_rename_votes(text, renamed) for text in clips["shares"]]
    return clips


def _rename_votes(text: str, renamed: dict[str, str]) -> str:
    votes: Counter[str] = Counter()
    for label, n in json.loads(text).items():
        votes[renamed.get(label, label)] += n
    return json.dumps(votes, ensure_ascii=False)


def _meaning(label: str) -> str:
    return EMOTION_OF.get(label.casefold(), label.casefold())


def share_matrix(clips: pd.DataFrame, classes: list[str]) -> np.ndarray:
    """What a network is to answer: the share of each class, from raters or the one label.

    Parameters
    ----------
    clips : pd.DataFrame
        Utterance table; ``emotion`` is read, and ``shares`` where raters disagreed.
    classes : list of str

    Returns
    -------
    np.ndarray of float32, shape (n_clips, n_classes)
        Rows add up to 1.
    """
    if "shares" in clips:
        votes = [json.loads(text) for text in clips["shares"]]
    else:
        votes = [{label: 1} for label in clips["emotion"]]
    # Of classes that were left out nobody asks.
    shares = pd.DataFrame(votes).reindex(columns=classes).fillna(0).to_numpy("float32")
    return shares / shares.sum(axis=1, keepdims=True)


def _words(text: str) -> list[str]:
    return _WORD.findall(normalize(text).casefold())
