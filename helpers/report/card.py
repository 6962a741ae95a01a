"""The model card: what a model is, how good, for whom, for what, and for what not.

After Mitchell et al. 2019 (arXiv 1810.03993). :func:`describe_model` gathers what a model file and
its ``metrics.json`` say, and what follows from it; :func:`render_card` makes a page of that. What
was not measured is called so; a score without protocol, n and interval is left out.
"""

from __future__ import annotations

import json
import re

from helpers.corpora import CORPORA
from helpers.report.page import render_card
from helpers.report.plots import SYNTHETIC_NOTICE
from helpers.runs import dump_json

__all__ = ["describe_model", "render_card"]

DESCRIPTION_FORMAT = 1
_MEASURES = ("uar", "accuracy", "macro_f1")
_MAIN_MODEL = "model.keras"
_PROTOCOLS = {
    "speaker-independent": "no speaker of the test side was heard in training",
    "speaker-text-independent": "neither the speakers nor the words of the test side were heard",
    "random-80-20": "clips dealt by chance, the same voices on both sides: for comparison only",
    "own-split": "the sides that the manifest gives",
    "leaky": "augmented before the split, so that copies of test clips are learned: a warning only",
    "cross-corpus": "tested on a corpus that it did not learn from",
}
#: Who speaks in the published corpora; all of them act.
_VOICES = {
    "ravdess": ("North American English", "24 actors say two sentences in a studio"),
    "ravdess-song": ("North American English", "23 actors sing two sentences in a studio"),
    "tess": ("Canadian English", "two actresses say one phrase with 200 words"),
    "cremad": ("American English", "91 actors say twelve sentences"),
    "savee": ("British English", "four men read sentences in a studio"),
    "emodb": ("German", "ten actors say ten sentences in a studio"),
}
#: How often people heard the intended emotion, from the sound alone.
_PEOPLE = {
    "ravdess": (0.60, "about 60 %", "Livingstone & Russo 2018, PLoS ONE 13(5): e0196391"),
    "cremad": (0.409, "40.9 %", "Cao et al. 2014, IEEE Trans. Affective Computing 5(4): 377-390"),
}
_LICENCES = (
    (r"\bMIT\b", "free to use; its notice stays with it"),
    (r"\bCC0\b", "no conditions"),
    (r"\bBY\b|\bODbL\b", "name the source"),
    (r"\bNC\b", "not for commercial use, and to be careful, nor is the model"),
    (
        r"\bND\b",
        "no changed copies may be passed on; whether a model is one is not settled: ask first",
    ),
    (
        r"\bSA\b|\bODbL\b",
        "what is made from it carries the same licence; to be careful, the model too",
    ),
    (r"\bresearch\b", "for research; for anything else ask its publisher"),
)
_INTENDED = (
    "Learning how speech emotion recognition works, and where it fails.",
    "Research: comparing methods on the same data under the same protocol.",
    "Trying it on your own voice, or on that of people who agreed to it.",
)
_INTENDED_DEMO = (
    "Seeing that everything works, before recordings of people are there. Nothing else."
)
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


def describe_model(card: dict, metrics: dict | None = None) -> dict:
    """Gather the facts of a model card.

    Parameters
    ----------
    card : dict
        From :func:`helpers.models.modelfile.read_card`.
    metrics : dict, optional
        What notebook 06 writes to ``metrics.json``; any part may be missing.

    Returns
    -------
    dict
        Plain JSON: ``format title synthetic warnings model data headline scores people by_emotion
        confusion calibration groups gaps checks leakage cross_corpus intended misuse limits
        licences citations protocols versions not_measured``. Figures are those of the metrics;
        what is missing there is empty or None here, and named in ``not_measured``.
    """
    card, metrics = (json.loads(dump_json(part or {})) for part in (card, metrics))
    data = {**_dict(metrics.get("data")), **{k: v for k, v in card.items() if k in _DATA}}
    scores = _describe_scores(card, metrics)
    main = _find_main(card, metrics)
    chosen = _dict(_dict(_dict(metrics.get("protocols")).get(main)).get(_MAIN_MODEL))
    synthetic = bool(card.get("synthetic") or data.get("synthetic"))
    facts = {
        "format": DESCRIPTION_FORMAT,
        "title": f"Speech emotion recognition: {card.get('name', 'a model')}",
        "synthetic": synthetic,
        "model": {k: card[k] for k in _MODEL if k in card},
        "data": _describe_data(data, _dict(metrics.get("data"))),
        "headline": next((one for one in scores if one["is_this"]), None),
        "scores": scores,
        "people": _describe_people(data),
        "by_emotion": _describe_emotions(chosen),
        "confusion": _describe_confusion(chosen),
        "calibration": _describe_calibration(card, metrics),
        "groups": _describe_groups(_list(metrics.get("groups")), main),
        "gaps": [_dict(gap) for gap in _list(metrics.get("gaps"))],
        "checks": [_dict(check) for check in _list(metrics.get("checks"))],
        "leakage": _named_scores(_dict(metrics.get("leakage")).items()),
        "cross_corpus": _describe_cross(_list(metrics.get("cross_corpus"))),
        "intended": [_INTENDED_DEMO] if synthetic else list(_INTENDED),
        "misuse": list(_MISUSE),
        "licences": _describe_licences(data),
        "citations": _describe_citations(data),
        "versions": _dict(card.get("versions")),
    }
    facts["warnings"] = _find_warnings(card, metrics, synthetic)
    facts["limits"] = _describe_limits(facts, card)
    shown = ("leakage", "cross_corpus")
    names = {one["protocol"] for key in ("scores", *shown) for one in facts[key]}
    facts["protocols"] = {name: text for name, text in _PROTOCOLS.items() if name in names}
    facts["not_measured"] = [key for key in _MEASURED if not facts[key]]
    return facts


_DATA = ("corpora", "clips", "speakers", "licences", "fingerprint", "synthetic", "classes")
_MODEL = ("name", "input", "classes", "parameters", "sample_rate", "features", "protocol",
          "temperature", "threshold", "target_accuracy", "training")  # fmt: skip
_MEASURED = ("scores", "by_emotion", "calibration", "groups", "checks", "leakage", "cross_corpus")


def _dict(value: object) -> dict:
    return value if isinstance(value, dict) else {}


def _list(value: object) -> list:
    return value if isinstance(value, list) else []


def _find_main(card: dict, metrics: dict) -> str:
    named = _list(_dict(metrics.get("data")).get("protocols"))
    return str(card.get("protocol") or (named[0] if named else "speaker-independent"))


def _interval(row: dict, measure: str) -> list[float] | None:
    found = row.get(f"{measure}_interval", [row.get("low"), row.get("high")])
    ends = _list(found)
    return ends if len(ends) == 2 and all(isinstance(end, int | float) for end in ends) else None


def _score(row: dict, **names: object) -> dict | None:
    """A score with all that it must say, or None."""
    measures = {}
    for name in _MEASURES:
        low_high = _interval(row, name) if f"{name}_interval" in row else None
        if isinstance(row.get(name), int | float) and low_high:
            measures |= {name: row[name], f"{name}_interval": low_high}
    named = isinstance(row.get("protocol"), str) and row["protocol"]
    if not (measures and named and row.get("n")):
        return None
    said = ("protocol", "n", "n_speakers", "interval_unit", "chance")
    return {**names, **{key: row.get(key) for key in said}, **measures}


def _named_scores(items) -> list[dict]:
    rows = [_score(_dict(row), name=name) for name, row in items]
    return [row for row in rows if row]


def _describe_scores(card: dict, metrics: dict) -> list[dict]:
    """This model first, then the others of its protocol by UAR, then the other protocols."""
    main, rows = _find_main(card, metrics), []
    for protocol, models in _dict(metrics.get("protocols")).items():
        for name, row in _dict(models).items():
            this = protocol == main and name == _MAIN_MODEL
            again = protocol == main and name == metrics.get("selected") and _MAIN_MODEL in models
            score = _score({"protocol": protocol, **_dict(row)}, name=name, is_this=this)
            if score and not again:
                rows.append(score)
    order = sorted({row["protocol"] for row in rows}, key=lambda name: (name != main, name))
    return sorted(
        rows,
        key=lambda row: (
            *(order.index(row["protocol"]), not row["is_this"]),
            -row.get("uar", row.get("accuracy", 0)),
        ),
    )


def _describe_data(data: dict, whole: dict) -> dict:
    """Corpora, and counts of clips and speakers."""
    clips, speakers = data.get("clips"), _dict(data.get("speakers"))
    sides = [side for side in ("train", "validation", "test") if side in _dict(clips)]
    return {
        "corpora": [_describe_corpus(name) for name in map(str, _list(data.get("corpora")))],
        "sides": [
            {"side": side, "clips": clips[side], "speakers": len(_list(speakers.get(side))) or None}
            for side in sides
        ],
        "clips": whole.get("clips"),
        "rejected": whole.get("rejected"),
        "fold": whole.get("fold"),
        "fingerprint": data.get("fingerprint"),
    }


def _describe_corpus(name: str) -> dict:
    corpus, (language, voices) = CORPORA.get(name), _VOICES.get(name, ("", ""))
    title, url = (corpus.title, corpus.url) if corpus else (name, "")
    return {"name": name, "title": title, "url": url, "language": language, "voices": voices}


def _describe_people(data: dict) -> list[dict]:
    corpora = _list(data.get("corpora"))
    return [
        {"corpus": CORPORA[name].title, "share": share, "text": text, "source": source}
        for name, (share, text, source) in _PEOPLE.items()
        if name in corpora
    ]


def _describe_emotions(score: dict) -> list[dict]:
    rows = _dict(score.get("by_emotion"))
    names = [name for name in map(str, _list(score.get("classes"))) if name in rows] or list(rows)
    return [{"emotion": name, **_describe_emotion(_dict(rows[name]))} for name in names]


def _describe_emotion(row: dict) -> dict:
    if row.get("support") == 0:  # without a clip, a recall of 0 would be a slander
        return {"support": 0}
    ends = {f"{name}_interval": _interval(row, name) for name in ("recall", "precision")}
    return row | ends


def _describe_confusion(score: dict) -> list[list[int]]:
    """Counts in the order of the emotions, or nothing if they do not fit them."""
    counts = [_list(row) for row in _list(score.get("confusion"))]
    n = len(_describe_emotions(score))
    whole = [row for row in counts if len(row) == n and all(isinstance(one, int) for one in row)]
    return whole if len(counts) == len(whole) == n else []


def _describe_calibration(card: dict, metrics: dict) -> dict:
    found = _dict(metrics.get("calibration"))
    if not found:
        return {}
    stated = {"temperature": card.get("temperature"), "threshold": card.get("threshold")}
    return {"protocol": _find_main(card, metrics), **stated, **found}


def _describe_groups(rows: list, main: str) -> list[dict]:
    groups = []
    for row in map(_dict, rows):
        low_high = _interval(row, "uar")
        if low_high and isinstance(row.get("uar"), int | float) and row.get("n"):
            kept = {key: row.get(key) for key in ("grouping", "group", "n", "n_speakers", "uar")}
            groups.append({"protocol": main, **kept, "uar_interval": low_high})
    return groups


def _describe_cross(rows: list) -> list[dict]:
    names = ("train", "test", "model")
    scores = [
        _score({"protocol": "cross-corpus", **row}, **{k: row.get(k) for k in names})
        for row in map(_dict, rows)
    ]
    return [score for score in scores if score]


def _describe_licences(data: dict) -> list[dict]:
    given = _dict(data.get("licences"))
    rows = []
    for name in dict.fromkeys([*map(str, _list(data.get("corpora"))), *given]):
        known = CORPORA[name].licence if name in CORPORA else ""
        text = str(given.get(name) or known or "not given")
        means = [meaning for rule, meaning in _LICENCES if re.search(rule, text)]
        means = means or ["its terms are not known here: ask whoever owns the recordings"]
        rows.append({"corpus": name, "licence": text, "means": means})
    return rows


def _describe_citations(data: dict) -> list[str]:
    names = map(str, _list(data.get("corpora")))
    return list(dict.fromkeys(CORPORA[name].citation for name in names if name in CORPORA))


def _find_warnings(card: dict, metrics: dict, synthetic: bool) -> list[str]:
    found = [f"{SYNTHETIC_NOTICE}."] if synthetic else []
    prints = card.get("fingerprint"), _dict(metrics.get("data")).get("fingerprint")
    if all(prints) and prints[0] != prints[1]:
        found.append("The scores were measured on other recordings than this model's.")
    if metrics.get("selected") and card.get("name") and metrics["selected"] != card["name"]:
        found.append(f"The scores are those of {metrics['selected']}, not of {card['name']}.")
    return found


def _describe_limits(facts: dict, card: dict) -> list[str]:
    corpora, sides = facts["data"]["corpora"], facts["data"]["sides"]
    limits = ["It hears how a voice sounds. What a person feels, it cannot hear."]
    if facts["synthetic"]:
        limits.append("It learned from synthetic voices, and knows nothing of people.")
    for one in corpora:
        if one["voices"]:
            limits.append(f"{one['title']}: {one['voices']}, in {one['language']}.")
    if any(one["voices"] for one in corpora):
        limits.append(
            "These emotions were acted, by voices close to a good microphone. Felt ones are weaker "
            "and mixed; other languages, accents, ages and microphones were not learned."
        )
    voices = {one["side"]: one["speakers"] for one in sides if one["speakers"]}
    if {"train", "test"} <= set(voices):
        few = " With so few, other speakers give another score." if voices["test"] < 20 else ""
        limits.append(f"Voices learned from: {voices['train']}; tested on: {voices['test']}.{few}")
    if classes := _list(card.get("classes")):
        limits.append(
            f"It knows {len(classes)} emotions ({', '.join(map(str, classes))}), and gives one of "
            "these names to whatever it hears."
        )
    if isinstance(clip_s := _dict(card.get("features")).get("clip_s"), int | float):
        limits.append(f"It listens to {clip_s:g} s at a time, in long recordings to many such.")
    return limits
