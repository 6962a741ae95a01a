"""The model card as one page: no script, no other file, readable on a phone and in the dark."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

_MODELS = {
    "model.keras": "this model",
    "chance": "chance",
    "majority": "always the commonest",
    "svm": "SVM on functionals",
}
_MEASURES = {"uar": "UAR", "accuracy": "accuracy", "macro_f1": "macro F1"}
_NOT_MEASURED = "Not measured in this run."


class _Html(str):
    """Text that is markup already; all other text is escaped."""


def render_card(description: dict) -> str:
    """Make a page of a model card.

    Parameters
    ----------
    description : dict
        From :func:`helpers.report.card.describe_model`.

    Returns
    -------
    str
        HTML that needs nothing else; whatever names it holds are escaped.
    """
    d = description
    sections = [
        ("What it is for", _list(d["intended"])),
        ("What it is not for", _list(d["misuse"])),
        ("Its limits", _list(d["limits"])),
        ("How good it is", _scores(d)),
        ("Emotion by emotion", _emotions(d)),
        ("How sure it is", _calibration(d["calibration"])),
        ("For whom", _groups(d)),
        ("What it passes and fails", _checks(d["checks"])),
        ("What a leak would promise", _leakage(d)),
        ("On other corpora", _cross(d)),
        ("What it learned from", _data(d)),
        ("How it was made", _made(d)),
        ("To be cited", _list(d["citations"])),
    ]
    body = "".join(
        f"<section><h2>{escape(title)}</h2>{text}</section>" for title, text in sections if text
    )
    warnings = "".join(f'<p class="warning">⚠ {escape(text)}</p>' for text in d["warnings"])
    title = escape(d["title"])
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8">\n'
        f'<meta name="viewport" content="width=device-width,initial-scale=1">\n'
        f'<meta name="color-scheme" content="light dark"><link rel="icon" href="data:,">\n'
        f"<title>{title}</title><style>{_STYLE}</style></head>\n"
        f"<body><main><h1>{title}</h1>{warnings}{_headline(d)}{body}"
        "<footer>A model card after Mitchell et al. 2019 (arXiv 1810.03993), written by the run "
        "itself from its model.keras and metrics.json.</footer></main></body></html>\n"
    )


# ---------------------------------------------------------------------------- the sections


def _headline(d: dict) -> str:
    score = d["headline"]
    if score is None:
        return _p("How good it is was not measured in this run.")
    boxes = "".join(
        f'<div class="box"><span>{label}</span><b>{score[name]:.3f}</b>'
        f"<small>95 % interval {_ends(score, name)}</small>{_track(score, name)}</div>"
        for name, label in _MEASURES.items()
        if name in score
    )
    meaning = d["protocols"].get(score["protocol"])
    words = f"Protocol {score['protocol']}{f' ({meaning})' if meaning else ''}: {_size(score)}."
    if "accuracy" in score:
        words += f" Of 100 such clips, it names about {100 * score['accuracy']:.0f} rightly."
    if score.get("chance"):
        words += f" By chance, UAR would be {_number(score['chance'])}."
    return f'<div class="boxes">{boxes}</div>{_p(words)}'


def _scores(d: dict) -> str:
    if not d["scores"]:
        return _p(_NOT_MEASURED)
    table = _score_table(d["scores"], [("model", _model_name)])
    notes = [
        *_meanings(d, d["scores"]),
        "UAR is the mean of the recalls: each emotion counts alike.",
    ]
    people = [
        f"People who hear {one['corpus']} without seeing it name the intended emotion in "
        f"{one['text']} of the cases ({one['source']})."
        for one in d["people"]
    ]
    return table + _list(notes + people)


def _meanings(d: dict, rows: list[dict]) -> list[str]:
    there = {row["protocol"] for row in rows}
    return [f"{name}: {text}." for name, text in d["protocols"].items() if name in there]


def _emotions(d: dict) -> str:
    rows = d["by_emotion"]
    if not rows:
        return _p(_NOT_MEASURED)
    measures = ("recall", "precision", "f1")
    cells = [
        [row["emotion"], *(_value(row, name) for name in measures), row.get("support", "–")]
        for row in rows
    ]
    head = ["emotion", *("F1" if name == "f1" else name for name in measures), "clips"]
    score = d["headline"]
    under = f"Protocol {score['protocol']}, {_size(score)}. " if score else ""
    under += "Recall: of the clips of an emotion, the share that was found. Precision: of the "
    under += "clips called so, the share that is so. In brackets 95 % intervals."
    return _table(head, cells) + _p(under) + _confusion(d)


def _confusion(d: dict) -> str:
    counts, names = d["confusion"], [row["emotion"] for row in d["by_emotion"]]
    if not counts:
        return ""
    rows = []
    for name, row in zip(names, counts, strict=True):
        total = sum(row) or 1
        shades = [_Html(f'<td class="c" style="--s:{n / total:.2f}">{n:d}</td>') for n in row]
        rows.append(f'<tr><th scope="row">{escape(name)}</th>{"".join(shades)}</tr>')
    head = "".join(f'<th scope="col">{escape(name)}</th>' for name in names)
    return _details(
        "What is taken for what, in clips",
        f'<div class="wide"><table><thead><tr><th>true ↓ called →</th>{head}</tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table></div>",
    )


def _calibration(found: dict) -> str:
    if not found:
        return _p(_NOT_MEASURED)
    labels = (
        ("temperature", "temperature, fitted on the validation side"),
        ("ece", "expected calibration error (ECE): confidence against what was right, 0 is honest"),
        ("brier", "Brier score, 0 to 2, lower is better"),
        ("threshold", "threshold: below this confidence it says that it is not sure"),
        ("target", "share of right answers that the threshold was chosen for"),
        ("coverage", "share of the clips that it is sure of"),
        ("accuracy_when_sure", "share of these that is right"),
    )
    rows = [[label, _number(found[key])] for key, label in labels if found.get(key) is not None]
    n = f" {found['n']} clips." if found.get("n") else ""
    return _table(["", "value"], rows) + _p(f"Test side, protocol {found['protocol']}.{n}")


def _groups(d: dict) -> str:
    if not d["groups"]:
        return _p(_NOT_MEASURED)
    names = [(key, lambda row, key=key: row[key]) for key in ("grouping", "group")]
    rows = {True: [], False: []}
    for row in d["groups"]:
        rows[row["grouping"] == "speaker"].append(row)
    text = _score_table(rows[False], names) if rows[False] else ""
    if rows[True]:
        text += _details("Speaker by speaker", _score_table(rows[True], names[1:]))
    gaps = [
        f"{gap['grouping']}: gap {_number(gap['gap'])} between {gap['worst']} and {gap['best']}, "
        f"{_number(gap['allowed'])} allowed ({gap['n']} clips)."
        for gap in d["gaps"]
        if {"grouping", "gap", "worst", "best", "allowed", "n"} <= set(gap)
    ]
    return text + _list(gaps)


def _checks(checks: list[dict]) -> str:
    judged = [check for check in checks if isinstance(check.get("passed"), bool)]
    if not judged:
        return _p(_NOT_MEASURED)
    failed = [check for check in judged if not check["passed"]]
    passed = [check for check in judged if check["passed"]]
    words = f"{len(passed)} of {len(judged)} checks passed."
    text = _p(f"{words} Those that failed:" if failed else words)
    text += _check_table(failed) if failed else ""
    return text + (_details("Those that passed", _check_table(passed)) if passed else "")


def _check_table(checks: list[dict]) -> str:
    rows = [
        [
            _Html("<b>✓ passed</b>" if check["passed"] else '<b class="bad">✗ failed</b>'),
            *(check.get(key, "") for key in ("test", "measure")),
            *(_number(check.get(key)) for key in ("found", "limit", "n")),
        ]
        for check in checks
    ]
    return _table(["", "test", "measure", "found", "limit", "clips"], rows)


def _leakage(d: dict) -> str:
    rows = d["leakage"]
    if not rows:
        return ""
    words = "One small network under each protocol. Only the sides differ."
    return _p(words) + _score_table(rows, []) + _list(_meanings(d, rows))


def _cross(d: dict) -> str:
    rows = d["cross_corpus"]
    if not rows:
        return ""
    names = [(key, lambda row, key=key: row[key] or "–") for key in ("train", "test")]
    return _score_table(rows, [*names, ("model", _model_name)]) + _list(_meanings(d, rows))


def _data(d: dict) -> str:
    data = d["data"]
    licences = {row["corpus"]: row for row in d["licences"]}
    rows = []
    for one in data["corpora"]:
        row = licences[one["name"]]
        means = "; ".join(row["means"])
        rows.append([one["title"], row["licence"], means])
    text = _table(["corpus", "licence", "what that means"], rows) if rows else ""
    sides = [[one["side"], one["clips"], one["speakers"] or "–"] for one in data["sides"]]
    text += _table(["side", "clips", "speakers"], sides) if sides else ""
    labels = {
        "clips": "clips in all",
        "rejected": "left out",
        "fold": "fold",
        "fingerprint": "fingerprint of recordings and labels",
    }
    facts = [f"{label}: {data[key]}" for key, label in labels.items() if data[key] is not None]
    return text + (_p(", ".join(facts) + ".") if facts else "") or _p("Not stated.")


def _made(d: dict) -> str:
    model, rows = d["model"], []
    for key, value in model.items():
        if isinstance(value, dict):
            value = ", ".join(f"{name} {_setting(item)}" for name, item in value.items())
        elif isinstance(value, list):
            value = ", ".join(map(str, value))
        rows.append([key.replace("_", " "), _setting(value)])
    if d["versions"]:
        rows.append(["versions", ", ".join(f"{k} {v}" for k, v in d["versions"].items())])
    return _table(["", "value"], rows) if rows else ""


# ---------------------------------------------------------------------------- small parts


def _score_table(rows: Sequence[dict], names: list[tuple]) -> str:
    """A row a score: names, protocol, each measure with its interval, n."""
    measures = [name for name in _MEASURES if any(name in row for row in rows)]
    head = [label for label, _ in names] + ["protocol"]
    head += [_MEASURES[name] for name in measures] + ["n"]
    cells = [
        [
            *(name(row) for _, name in names),
            row["protocol"],
            *(_Html(_value(row, name) + _track(row, name)) for name in measures),
            _Html(f'<span class="n">{escape(_size(row)).replace(", ", "<br>")}</span>'),
        ]
        for row in rows
    ]
    marked = [place for place, row in enumerate(rows) if row.get("is_this")]
    return _table(head, cells, marked=marked)


def _model_name(row: dict) -> str:
    name = str(row.get("name") or row.get("model") or "–")
    return _MODELS.get(name, name)


def _size(score: dict) -> str:
    text, unit = _count(score["n"], "clip"), score.get("interval_unit")
    text += f" of {_count(score['n_speakers'], 'speaker')}" if score.get("n_speakers") else ""
    return text + (f", 95 % interval over {unit}s" if unit else ", 95 % interval")


def _count(n: int, noun: str) -> str:
    return f"{n} {noun}" if n == 1 else f"{n} {noun}s"


def _ends(row: dict, name: str) -> str:
    low, high = row[f"{name}_interval"]
    return f"[{low:.3f}, {high:.3f}]"


def _value(row: dict, name: str) -> _Html:
    """A figure and its interval, as far as they are there."""
    there = row.get(f"{name}_interval")
    interval = f" <small>{_ends(row, name)}</small>" if there else ""
    return _Html(escape(_number(row.get(name))) + interval)


def _track(row: dict, name: str) -> _Html:
    """The interval on a line from 0 to 1, for the eye only."""
    if name not in row:
        return _Html("")
    low, high = (100 * min(max(end, 0), 1) for end in row[f"{name}_interval"])
    place = 100 * min(max(row[name], 0), 1)
    return _Html(
        f'<span class="track" aria-hidden="true"><i style="left:{low:.1f}%;'
        f'width:{high - low:.1f}%"></i><b style="left:{place:.1f}%"></b></span>'
    )


def _number(value: object) -> str:
    if value is None:
        return "–"
    return f"{value:.3f}" if isinstance(value, float) else str(value)


def _setting(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else _number(value)


def _details(title: str, text: str) -> str:
    return f"<details><summary>{escape(title)}</summary>{text}</details>"


def _p(text: str) -> str:
    return f"<p>{escape(text)}</p>"


def _list(items: Iterable[str]) -> str:
    points = "".join(f"<li>{escape(item)}</li>" for item in items)
    return f"<ul>{points}</ul>" if points else ""


def _table(head: list[str], rows: list[list], *, marked: Sequence[int] = ()) -> str:
    top = "".join(f'<th scope="col">{escape(name)}</th>' for name in head)
    lines = []
    for place, row in enumerate(rows):
        cells = "".join(
            f"<td>{cell if isinstance(cell, _Html) else escape(str(cell))}</td>" for cell in row
        )
        start = '<tr class="this">' if place in marked else "<tr>"
        lines.append(f"{start}{cells}</tr>")
    return (
        f'<div class="wide"><table><thead><tr>{top}</tr></thead>'
        f"<tbody>{''.join(lines)}</tbody></table></div>"
    )


_STYLE = """
:root{--ink:#1b1b1b;--soft:#5f6368;--line:#d9d9d9;--page:#fff;--panel:#f4f6f8;--blue:#0072b2;
--bad:#b00020}
@media(prefers-color-scheme:dark){:root{--ink:#e8e8e8;--soft:#a3a9b0;--line:#3a3f45;--page:#16181b;
--panel:#21252a;--blue:#5ab4e8;--bad:#ff7b8a}}
*{box-sizing:border-box}
body{margin:0;background:var(--page);color:var(--ink);font:16px/1.5 system-ui,sans-serif}
main{max-width:64rem;margin:0 auto;padding:1.5rem 1rem 3rem}
h1{font-size:1.7rem;line-height:1.2;margin:.5rem 0 1rem;overflow-wrap:anywhere}
h2{font-size:1.2rem;margin:2.2rem 0 .6rem}
p,ul{max-width:46rem;overflow-wrap:anywhere}li{margin:.25rem 0}
ul{padding-left:1.2rem}
.warning{border-left:6px solid var(--bad);background:var(--panel);padding:.6rem 1rem;
font-weight:600;max-width:none}
.boxes{display:flex;flex-wrap:wrap;gap:.8rem}
.box{flex:1 1 12rem;background:var(--panel);border-radius:.5rem;padding:.8rem 1rem}
.box span,.box small{color:var(--soft);display:block}
.box>b{font-size:2rem;line-height:1.2}
.box,td{font-variant-numeric:tabular-nums}
.wide{overflow-x:auto;margin:.6rem 0 1rem}
table{border-collapse:collapse;font-size:.92rem}
th{text-align:left;color:var(--soft);font-weight:600}
th,td{padding:.35rem .9rem .35rem 0;border-bottom:1px solid var(--line);vertical-align:top}
tr.this td{font-weight:600}
td small{color:var(--soft);white-space:nowrap;font-weight:400}
.n{white-space:nowrap}
.bad{color:var(--bad)}td>b{white-space:nowrap}
.c{text-align:right;padding:.35rem .6rem;
background:color-mix(in srgb,var(--blue) calc(var(--s)*70%),transparent)}
.track{display:block;position:relative;height:.5rem;min-width:7rem;margin:.25rem 0;
background:linear-gradient(var(--line),var(--line)) 0 50%/100% 2px no-repeat}
.track i,.track b{position:absolute;top:0;height:.5rem}
.track i{background:var(--blue);opacity:.35;border-radius:.25rem}
.track b{width:.5rem;margin-left:-.25rem;border-radius:50%;background:var(--blue)}
summary{cursor:pointer;color:var(--blue)}
footer{margin-top:3rem;color:var(--soft);font-size:.88rem}
"""
