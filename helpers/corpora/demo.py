"""The demo corpus: synthetic speech, made on this machine in seconds. It says nothing about people.

Eight voices say ten words in seven emotions, 560 clips in all, so that every notebook runs without
a download. eSpeak NG speaks; :data:`PROSODY` says how each emotion differs from neutral. A score on
this corpus shows that the code works, and how well a model finds seven rules again, no more.

A clip is called ``<voice>_<emotion>_<word>``, for example ``v03_angry_back.wav``.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import astuple, dataclass, replace
from pathlib import Path
from zlib import crc32

import numpy as np

from helpers.corpora.corpus import Corpus
from helpers.corpora.espeak import (
    Synthesizer,
    open_synthesizer,
    record,
    tilt,
    trim,
    wobble,
    write_clip,
)
from helpers.errors import UserError
from helpers.runs import atomic_folder, one_at_a_time

SAMPLE_RATE = 16_000
STAMP = "demo.json"
WORDS = ("back", "bean", "boat", "chair", "dog", "goose", "lamp", "mouse", "ship", "wheel")
# Raise it when the code below changes what is heard; the tables are part of the stamp themselves.
_VERSION = 1


@dataclass(frozen=True)
class Prosody:
    """How an emotion is spoken, relative to the same voice speaking neutrally.

    Parameters
    ----------
    rate : float
        Speech rate, 1 is neutral.
    pitch_st : float
        Mean pitch in semitones.
    pitch_range : float
        Width of the pitch movement, 1 is neutral.
    level_db : float
        Loudness in dB.
    tilt_db : float
        Slope of the spectrum in dB per octave: positive is bright and tense, negative dull and lax.
    tremor : float
        Depth of a wobble of the pitch 6 to 8 times a second; 0.02 is 2 %.
    ending : str
        ``"."`` lets the pitch fall at the end, ``"?"`` lets it rise; ``"!"`` stresses the word.
    """

    rate: float = 1.0
    pitch_st: float = 0.0
    pitch_range: float = 1.0
    level_db: float = 0.0
    tilt_db: float = 0.0
    tremor: float = 0.0
    ending: str = "."


# Directions come from the literature, sizes are ours. Not every study agrees with every row (the
# pitch range of fear is wide in [M], narrow in [J]): real people are not a table.
# [M] Murray & Arnott (1993), J. Acoust. Soc. Am. 93(2): table of vocal emotion effects.
# [B] Banse & Scherer (1996), J. Pers. Soc. Psychol. 70(3): acoustic profiles of acted emotions.
# [J] Juslin & Laukka (2003), Psychol. Bull. 129(5): review of 104 studies of vocal expression.
# [S] Scherer (2003), Speech Communication 40: review.
# [C] Cahn (1990), J. American Voice I/O Society 8: synthesized affect, surprise among it.
PROSODY = {
    "neutral": Prosody(),
    # Higher, livelier, louder and brighter; fast in [J, S], "faster or slower" in [M].
    "happy": Prosody(rate=1.10, pitch_st=3.5, pitch_range=1.6, level_db=3, tilt_db=1.0),
    # Slower, lower, narrower, softer, less energy in the high frequencies [M, B, J, S].
    "sad": Prosody(rate=0.84, pitch_st=-2.0, pitch_range=0.5, level_db=-5, tilt_db=-2.0),
    # Loudest and brightest (tense), fast, high and moving [M, B, J, S]; stress is abrupt [M].
    "angry": Prosody(rate=1.12, pitch_st=2.0, pitch_range=1.4, level_db=7, tilt_db=2.5, ending="!"),
    # Fastest and highest; narrow range and soft [J], irregular voicing [M].
    "fear": Prosody(
        rate=1.28, pitch_st=4.5, pitch_range=0.6, level_db=-1, tilt_db=-0.5, tremor=0.025
    ),
    # Very slow and very low, softer, range slightly wider, falling wide at the end [M].
    "disgust": Prosody(rate=0.76, pitch_st=-4.0, pitch_range=1.2, level_db=-2, tilt_db=0.5),
    # The pitch rises in a wide range, quickly [C].
    "surprise": Prosody(
        rate=1.05, pitch_st=3.0, pitch_range=1.8, level_db=2, tilt_db=0.5, ending="?"
    ),
}


@dataclass(frozen=True)
class Voice:
    """A made-up speaker: a larynx, a vocal tract, and habits.

    Parameters
    ----------
    gender : str
        ``"female"`` or ``"male"``.
    pitch_hz : tuple of int
        Lowest and highest pitch of neutral speech.
    formants : tuple of int
        Formants 1 to 5 in percent of eSpeak's own; a shorter vocal tract has higher ones.
    rate_wpm : int
        Words per minute in neutral speech.
    level_dbfs : float
        RMS level of neutral speech.
    tilt_db : float
        Slope of the neutral spectrum in dB per octave.
    expression : float
        How much of :data:`PROSODY` this speaker shows; 1 is all of it.
    """

    gender: str
    pitch_hz: tuple[int, int]
    formants: tuple[int, int, int, int, int]
    rate_wpm: int
    level_dbfs: float
    tilt_db: float
    expression: float


# Speakers differ in pitch, rate, level and brightness as much as emotions do, so that none of these
# alone tells the emotion: a sad v05 is higher than a neutral v07.
VOICES = {
    "v01": Voice("female", (146, 200), (110, 112, 110, 112, 112), 168, -30, 0.0, 1.0),
    "v02": Voice("male", (92, 128), (98, 97, 98, 97, 98), 160, -29, 0.0, 1.0),
    "v03": Voice("female", (178, 250), (116, 117, 114, 116, 116), 180, -32, 0.6, 0.85),
    "v04": Voice("male", (104, 148), (103, 101, 103, 102, 102), 176, -32, 0.5, 0.8),
    "v05": Voice("female", (205, 280), (121, 120, 118, 119, 119), 160, -31, -0.4, 1.15),
    "v06": Voice("male", (80, 112), (93, 94, 95, 94, 95), 152, -28, -0.5, 1.1),
    "v07": Voice("female", (164, 222), (107, 115, 116, 113, 114), 150, -34, -0.8, 0.9),
    "v08": Voice("male", (118, 164), (101, 106, 104, 105, 104), 184, -31, 0.2, 0.9),
}
# How far a clip strays from its rule (standard deviations). The first part belongs to a speaker and
# an emotion, "her way of being sad"; the second changes from clip to clip.
_HABIT = Prosody(0.04, 0.5, 0.12, 1.0, 0.4, 0.003)
_CHANCE = Prosody(0.05, 0.7, 0.18, 1.2, 0.5, 0.003)
# Of each voice's clips of an emotion one is no WAV, so that no format tells a label.
_FORMATS = (".flac", ".mp3")  # an OGG has a random number in it, and would be another each time
_CLIPS = {
    f"{voice}_{emotion}_{word}": _FORMATS[(v + e) % 2] if w == (7 * v + e) % 10 else ".wav"
    for v, voice in enumerate(VOICES)
    for e, emotion in enumerate(PROSODY)
    for w, word in enumerate(WORDS)
}
_NAME = re.compile(f"({'|'.join(VOICES)})_({'|'.join(PROSODY)})_({'|'.join(WORDS)})")


def make_demo(folder: Path) -> None:
    """Make the demo corpus in ``folder``, unless it is there already.

    The clips appear all at once: a killed call leaves no half corpus, and of two calls at a time
    the second waits. A corpus made by other rules is replaced.

    Parameters
    ----------
    folder : Path
        Gets 560 clips (mono, 16 kHz, about 1 s; WAV, some FLAC and MP3) and ``demo.json``, which
        says that they are synthetic and how they were made.

    Raises
    ------
    UserError
        eSpeak NG does not work here, or ``folder`` cannot be written.
    """
    folder = Path(folder).absolute()
    try:
        if _is_complete(folder):
            return
        with one_at_a_time(folder):
            if _is_complete(folder):  # another call was quicker
                return
            with atomic_folder(folder) as made:
                _write_clips(made)
    except OSError as error:
        raise UserError(
            f"the demo corpus cannot be made in {folder}: {error}. SER_OUTPUTS may name another "
            "folder"
        ) from error


def parse_name(stem: str) -> tuple[str, dict] | None:
    """Read the labels off a file name without suffix, None when it does not follow the rule.

    Examples
    --------
    >>> key, row = parse_name("v03_angry_back")
    >>> row["speaker"], row["gender"], row["emotion"], row["text"]
    ('demo-v03', 'female', 'angry', 'Say the word back')
    """
    match = _NAME.fullmatch(stem)
    if match is None:
        return None
    voice, emotion, word = match.groups()
    row = {
        "corpus": "demo",
        "speaker": f"demo-{voice}",
        "gender": VOICES[voice].gender,
        "emotion": emotion,
        "text": f"Say the word {word}",
        "language": "en",
    }
    return stem, row


def _write_clips(folder: Path) -> None:
    with open_synthesizer() as espeak:
        for stem, suffix in _CLIPS.items():
            write_clip(folder / f"{stem}{suffix}", _speak_clip(espeak, stem), SAMPLE_RATE)
        stamp = {
            "synthetic": True,
            "note": "Made by rules with a speech synthesizer; says nothing about real speech.",
            "rules": _rules(),
            "espeak_ng": espeak.version,
        }
    (folder / STAMP).write_text(json.dumps(stamp, indent=2) + "\n", encoding="utf-8")


def _speak_clip(espeak: Synthesizer, stem: str) -> np.ndarray:
    name, emotion, word = stem.split("_")
    voice, rng = VOICES[name], _rng(stem)
    way = _vary(PROSODY[emotion], voice.expression, _rng(f"{name}_{emotion}"), rng)
    y = espeak.speak(
        f"Say the word {word}{way.ending}",
        variant=_variant(voice, pitch_st=way.pitch_st, pitch_range=way.pitch_range),
        rate_wpm=voice.rate_wpm * way.rate,
    )
    hz, phase = rng.uniform(6, 8), rng.uniform(0, 2 * np.pi)
    y = wobble(trim(y), espeak.sr, depth=way.tremor, hz=hz, phase=phase)
    y = tilt(y, espeak.sr, db_per_octave=voice.tilt_db + way.tilt_db)
    level_dbfs = voice.level_dbfs + way.level_db
    return record(y, espeak.sr, to_sr=SAMPLE_RATE, level_dbfs=level_dbfs, rng=rng)


def _variant(voice: Voice, *, pitch_st: float, pitch_range: float) -> str:
    low, high = np.log2(voice.pitch_hz)
    width = (high - low) * pitch_range
    # eSpeak's median lies there in its range; so a wider range is not a higher voice as well.
    low = low + 0.88 * (high - low - width) + pitch_st / 12
    formants = enumerate(voice.formants, start=1)
    return "\n".join(
        [
            "language variant",
            f"gender {voice.gender}",
            f"pitch {2**low:.0f} {2 ** (low + width):.0f}",
            *(f"formant {i} {percent} 100 100" for i, percent in formants),
            # Both are random in eSpeak and would make every run another one.
            "flutter 0",
            "roughness 0",
            "",
        ]
    )


def _rng(key: str) -> np.random.Generator:
    return np.random.default_rng([0, crc32(key.encode())])


def _vary(
    rule: Prosody, expression: float, habit: np.random.Generator, chance: np.random.Generator
) -> Prosody:
    neutral, target, own, each = (
        np.array(astuple(prosody)[:-1]) for prosody in (Prosody(), rule, _HABIT, _CHANCE)
    )
    n = len(neutral)
    stray = own * habit.standard_normal(n) + each * chance.standard_normal(n)
    numbers = (neutral + expression * (target - neutral) + stray).tolist()
    way = Prosody(*[*numbers, rule.ending])
    width = float(np.clip(way.pitch_range, 0.1, 2.0))
    return replace(way, pitch_range=width, tremor=abs(way.tremor))


def _rules() -> str:
    """Short hash of all that decides how the corpus sounds."""
    tables = [{k: astuple(v) for k, v in t.items()} for t in (PROSODY, VOICES)]
    rules = repr((_VERSION, tables, astuple(_HABIT), astuple(_CHANCE), _CLIPS))
    return hashlib.sha256(rules.encode()).hexdigest()[:16]


def _is_complete(folder: Path) -> bool:
    stamp = folder / STAMP
    if not stamp.is_file() or _rules().encode() not in stamp.read_bytes():
        return False
    return all((folder / f"{stem}{suffix}").exists() for stem, suffix in _CLIPS.items())


CORPUS = Corpus(
    name="demo",
    title="Demo corpus (synthetic, says nothing about real speech)",
    licence="MIT, as this project; eSpeak NG, which speaks the clips, is GPL-3.0-or-later",
    citation="Synthetic speech by eSpeak NG, after the prosody rules in helpers/corpora/demo.py.",
    url="made at first use; the synthesizer: https://github.com/espeak-ng/espeak-ng",
    layout="demo/v01_neutral_bean.wav (560 files, made at first use)",
    folder="demo",
    counts=dict.fromkeys(PROSODY, len(VOICES) * len(WORDS)),
    speakers=len(VOICES),
    parse=parse_name,
    make=make_demo,
)
