"""The model card: what a model is, how good, for whom, for what, and for what not.

After Mitchell et al. 2019 (arXiv 1810.03993). What was not measured is called so; a score always
says its protocol, n and interval.
"""

from __future__ import annotations

import json
import re

from helpers.corpora import CORPORA, Corpus
from helpers.report.pages import SYNTHETIC_NOTICE
from helpers.runs import dump_json

_MAIN_MODEL = "model.keras"
_PROTOCOLS = {
    "speaker-independent": "no speaker of the test side was heard in training",
    "speaker-text-independent": "neither the speakers nor the words of the test side were heard",
    "random-80-20": "clips drawn at random, the same voices on both sides: for comparison only",
    "own-split": "the sides that the manifest gives",
    "leaky": "augmented before the split, so that copies of test clips are learned: a warning only",
    "cross-corpus": "tested on a corpus that it did not learn from",
}
#: What the terms of a licence mean for a model: a pattern, and its meaning.
_LICENCES = (
    (r"\bMIT\b", "free to use; its notice stays with it"),
    (r"\bCC0\b", "no conditions"),
    (r"\bBY\b|\bODbL\b", "name the source"),
    (r"\bNC\b", "not for commercial use, and to be careful, nor is the model"),
    (r"\bND\b", "no changed copies may be passed on; whether a model is one is open: ask first"),
    (r"\bSA\b|\bODbL\b", "what is made from it carries the same licence, perhaps the model too"),
    (r"\bresearch\b", "for research; for anything else ask its publisher"),
)
_INTENDED = (
    "Learning how speech emotion recognition works, and where it fails.",
    "Research: comparing methods on the same data under the same protocol.",
    "Trying it on your own voice, or on that of people who agreed to it.",
)
_INTENDED_DEMO = ("Seeing that all works, before recordings of people are there. Nothing else.",)
_MISUSE = (
    "Any decision about a person: hiring, credit, insurance, benefits, care, custody, asylum.",
    "Policing, border control, exams, lie detection, or watching people at work, at school or in "
    "public. It cannot tell a lie, a motive or an illness.",
    "In the European Union, inferring emotions at the workplace and in education is prohibited, "
    "except for medical or safety reasons: Article 5(1)(f) of the AI Act, Regulation (EU) "
    "2024/1689. Other emotion recognition is high-risk under that Act (Annex III, 1(c)), and the "
    "people exposed to it must be told (Article 50(3)).",
    "Listening to people who do not know it, or did not agree.",
)
#: What the page says of a model, and what may not have been measured.
_MODEL = ("name", "input", "classes", "parameters", "sample_rate", "features", "protocol")
_MODEL += ("temperature", "threshold", "target_accuracy", "training")
_MEASURED = ("scores", "by_emotion", "calibration", "groups", "checks", "leakage", "cross_corpus")


def describe_model(card: dict, metrics: dict | None = None) -> dict:
    """Gather the facts of a model card, for the template ``card.html``.

    Parameters
    ----------
    card : dict
        From :func:`helpers.models.modelfile.read_card`.
    metrics : dict, optional
        What notebook 06 writes to ``metrics.json``; any part may be missing.

    Returns
    -------
    dict
        Plain JSON. Figures are those of the metrics; what is missing there is empty or None here,
        and named in ``not_measured``.
    """
    card, metrics = json.loads(dump_json([card, metrics or {}]))
    measured = metrics.get("data", {})
    data = {**measured, **card}
    main = card.get("protocol", "speaker-independent")
    scores = _list_scores(metrics, main)
    calibration = metrics.get("calibration")
    corpora = data.get("corpora", [])
    known = [CORPORA[name] for name in corpora if name in CORPORA]
    synthetic = bool(data.get("synthetic"))
    chosen = metrics.get("protocols", {}).get(main, {}).get(_MAIN_MODEL, {})
    leakage = metrics.get("leakage", {})
    facts = {
        "format": 1,
        "title": f"Speech emotion recognition: {card.get('name', 'a model')}",
        "synthetic": synthetic,
        "warnings": _find_warnings(card, metrics, synthetic),
        "model": {key: card[key] for key in _MODEL if key in card},
        "data": {
            "corpora": [_describe_corpus(name) for name in corpora],
            "sides": _describe_sides(card),
            "clips": measured.get("clips"),
            "rejected": measured.get("rejected"),
            "fold": measured.get("fold"),
            "fingerprint": data.get("fingerprint"),
        },
        "headline": next((score for score in scores if score["is_this"]), None),
        "scores": scores,
        "people": [_describe_people(corpus) for corpus in known if corpus.heard_by_people],
        "by_emotion": _describe_emotions(chosen),
        "confusion": chosen.get("confusion", []),
        "calibration": {"protocol": main, **calibration} if calibration else {},
        "groups": [_describe_group(group, main) for group in metrics.get("groups", [])],
        "gaps": metrics.get("gaps", []),
        "checks": metrics.get("checks", []),
        "leakage": [{"name": name, **_shorten(leakage[name])} for name in leakage],
        "cross_corpus": [_shorten(score) for score in metrics.get("cross_corpus", [])],
        "intended": list(_INTENDED_DEMO if synthetic else _INTENDED),
        "misuse": list(_MISUSE),
        "licences": _describe_licences(corpora, data.get("licences", {})),
        # The parts of one corpus share their citation.
        "citations": list(dict.fromkeys(corpus.citation for corpus in known)),
        "versions": card.get("versions", {}),
    }
    facts["limits"] = _describe_limits(facts, card)
    shown = [*facts["scores"], *facts["leakage"], *facts["cross_corpus"]]
    names = {score["protocol"] for score in shown}
    facts["protocols"] = {name: text for name, text in _PROTOCOLS.items() if name in names}
    facts["not_measured"] = [key for key in _MEASURED if not facts[key]]
    return facts


def _shorten(score: dict) -> dict:
    """A score without what it says of each emotion."""
    return {key: score[key] for key in score if key not in ("by_emotion", "classes", "confusion")}


def _list_scores(metrics: dict, main: str) -> list[dict]:
    """This model first, then the others of its protocol by UAR, then the other protocols."""
    scores = []
    for protocol, models in metrics.get("protocols", {}).items():
        for name, score in models.items():
            is_main = protocol == main
            if is_main and _MAIN_MODEL in models and name == metrics.get("selected"):
                continue  # the same model, there under its own name
            is_this = is_main and name == _MAIN_MODEL
            scores.append({"name": name, "is_this": is_this, **_shorten(score)})

    def place(score: dict) -> tuple:
        protocol = score["protocol"]
        return protocol != main, protocol, not score["is_this"], -score["uar"]

    return sorted(scores, key=place)


def _describe_sides(card: dict) -> list[dict]:
    clips, speakers = card.get("clips", {}), card.get("speakers", {})
    return [
        {"side": side, "clips": clips[side], "speakers": len(speakers.get(side, [])) or None}
        for side in ("train", "validation", "test")
        if side in clips
    ]


def _describe_corpus(name: str) -> dict:
    if name not in CORPORA:
        return {"name": name, "title": name, "url": "", "language": "", "voices": ""}
    corpus = CORPORA[name]
    facts = {key: getattr(corpus, key) for key in ("title", "url", "language", "voices")}
    return {"name": name, **facts}


def _describe_people(corpus: Corpus) -> dict:
    share, text, source = corpus.heard_by_people
    return {"corpus": corpus.title, "share": share, "text": text, "source": source}


def _describe_emotions(score: dict) -> list[dict]:
    rows = []
    for name in score.get("classes", []):
        row = score["by_emotion"][name]
        # Without a clip, a recall of 0 would be a slander.
        rows.append({"emotion": name, **(row if row["support"] else {"support": 0})})
    return rows


def _describe_group(group: dict, main: str) -> dict:
    kept = {key: group[key] for key in ("grouping", "group", "n", "n_speakers", "uar")}
    return {"protocol": main, **kept, "uar_interval": [group["low"], group["high"]]}


def _describe_licences(corpora: list[str], given: dict) -> list[dict]:
    rows = []
    for name in dict.fromkeys([*corpora, *given]):
        known = CORPORA[name].licence if name in CORPORA else ""
        text = given.get(name) or known or "not given"
        means = [meaning for rule, meaning in _LICENCES if re.search(rule, text)]
        means = means or ["its terms are not known here: ask whoever owns the recordings"]
        rows.append({"corpus": name, "licence": text, "means": means})
    return rows


def _find_warnings(card: dict, metrics: dict, synthetic: bool) -> list[str]:
    found = [f"{SYNTHETIC_NOTICE}."] if synthetic else []
    learned, scored = card.get("fingerprint"), metrics.get("data", {}).get("fingerprint")
    if learned and scored and learned != scored:
        found.append("The scores were measured on other recordings than this model's.")
    name, selected = card.get("name"), metrics.get("selected")
    if name and selected and name != selected:
        found.append(f"The scores are those of {selected}, not of {name}.")
    return found


def _describe_limits(facts: dict, card: dict) -> list[str]:
    limits = ["It hears how a voice sounds. What a person feels, it cannot hear."]
    if facts["synthetic"]:
        limits.append("It learned from synthetic voices, and knows nothing of people.")
    acted = [one for one in facts["data"]["corpora"] if one["voices"]]
    for one in acted:
        limits.append(f"{one['title']}: {one['voices']}, in {one['language']}.")
    if acted:
        limits.append(
            "These emotions were acted, by voices close to a good microphone. Felt ones are weaker "
            "and mixed; other languages, accents, ages and microphones were not learned."
        )
    voices = {one["side"]: one["speakers"] for one in facts["data"]["sides"]}
    if voices.get("train") and voices.get("test"):
        few = " With so few, other speakers give another score." if voices["test"] < 20 else ""
        limits.append(f"Voices learned from: {voices['train']}; tested on: {voices['test']}.{few}")
    if "classes" in card:
        limits.append(
            f"It knows {len(card['classes'])} emotions ({', '.join(card['classes'])}), and gives "
            "one of these names to whatever it hears."
        )
    if "features" in card:
        clip_s = card["features"]["clip_s"]
        limits.append(f"It listens to {clip_s:g} s at a time, in long recordings to many such.")
    return limits
