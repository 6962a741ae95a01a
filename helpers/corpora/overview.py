"""Looking at corpora: what was asked for, whose codes mean what, and clips worth comparing."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pandas as pd

from helpers.corpora import CORPORA, class_order, load_listing, parse_names

#: From calm to expressive, in the words of CREMA-D and of RAVDESS.
_INTENSITIES = ["low", "normal", "medium", "strong", "high"]


def pick_contrast(clips: pd.DataFrame) -> pd.DataFrame:
    """Clips of one speaker and one text, one per emotion: what differs is the emotion.

    Chooses the speaker and text with the most emotions. Of several takes of an emotion, the most
    expressive one (``strong`` or ``high`` intensity), then the first in order.

    Parameters
    ----------
    clips : pd.DataFrame
        Utterance table.

    Returns
    -------
    pd.DataFrame
        Rows of ``clips``, at most one per emotion, in display order.

    Examples
    --------
    >>> clips = pd.DataFrame({"speaker": ["a", "a", "b"], "text": ["x", "x", "x"],
    ...     "emotion": ["angry", "neutral", "sad"], "intensity": "", "channel": "speech"})
    >>> pick_contrast(clips)["emotion"].tolist()
    ['neutral', 'angry']
    """
    # Without the words nobody knows whether two clips say the same.
    clips = clips[clips["text"] != ""] if (clips["text"] != "").any() else clips
    groups = clips.groupby(["channel", "speaker", "text"], sort=False)["emotion"].nunique()
    speech = groups[groups.index.get_level_values("channel") == "speech"]
    channel, speaker, text = (speech if len(speech) else groups).idxmax()
    chosen = clips[
        (clips["speaker"] == speaker) & (clips["text"] == text) & (clips["channel"] == channel)
    ]
    rank = {intensity: place for place, intensity in enumerate(_INTENSITIES)}
    strength = chosen["intensity"].str.lower().map(rank).fillna(-1)
    chosen = chosen.iloc[np.argsort(-strength.to_numpy(), kind="stable")]
    order = class_order(chosen["emotion"])
    return chosen.drop_duplicates("emotion").set_index("emotion", drop=False).loc[order]


def describe_corpora(names: str | Iterable[str]) -> pd.DataFrame:
    """What is known of each named corpus, and what lies there.

    Parameters
    ----------
    names : str or iterable of str
        As for :func:`helpers.corpora.load_corpora`.

    Returns
    -------
    pd.DataFrame
        Indexed by the names as given (own data by absolute path): ``title licence citation
        clips speakers emotions synthetic``.
    """
    rows = {}
    for name in parse_names(names):
        corpus, clips = CORPORA.get(name), load_listing(name).clips
        rows[name] = {
            "title": corpus.title if corpus else f"own data: {clips['corpus'].iloc[0]}",
            "licence": corpus.licence if corpus else "yours to know",
            "citation": corpus.citation if corpus else "",
            "clips": len(clips),
            "speakers": clips["speaker"].nunique(),
            "emotions": clips["emotion"].nunique(),
            "synthetic": bool(corpus and corpus.generated),
        }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("corpus")


def map_emotions(clips: pd.DataFrame) -> pd.DataFrame:
    """How the publishers' codes became one vocabulary, and which emotion is in which corpus.

    Parameters
    ----------
    clips : pd.DataFrame
        Utterance table.

    Returns
    -------
    pd.DataFrame
        One row per corpus and emotion, in display order: ``emotion``, ``corpus``, the publisher's
        ``code``, ``clips`` found there, ``corpora`` (all of those named that have clips of this
        emotion) and ``left_out``. Codes that are not used come last, without an emotion and with
        the reason in ``left_out``.

    Examples
    --------
    >>> clips = pd.DataFrame({"corpus": ["tess", "mine"], "emotion": ["surprise", "Wut"]})
    >>> codes = map_emotions(clips)
    >>> codes.loc[codes["clips"] > 0, ["emotion", "code", "clips"]].to_numpy().tolist()
    [['surprise', 'ps', 1], ['Wut', 'Wut', 1]]
    """
    columns = ["emotion", "corpus", "code", "clips", "left_out"]
    rows = []
    for name, part in clips.groupby("corpus"):
        corpus, counts = CORPORA.get(name), part["emotion"].value_counts()
        codes = corpus.codes if corpus and corpus.codes else {e: e for e in counts.index}
        for emotion in class_order({*codes.values(), *counts.index}):
            code = ", ".join(code for code, meaning in codes.items() if meaning == emotion)
            rows.append((emotion, name, code, counts.get(emotion, 0), ""))
        unused = corpus.left_out.items() if corpus else ()
        rows += [("", name, code, 0, reason) for code, reason in unused]
    table = pd.DataFrame(rows, columns=columns)
    found = table[table["clips"] > 0].groupby("emotion")["corpus"].agg(", ".join)
    table.insert(4, "corpora", table["emotion"].map(found).fillna(""))
    order = {emotion: place for place, emotion in enumerate(class_order(table["emotion"]))}
    order[""] = len(order)  # what is left out comes last
    return table.sort_values(
        "emotion", key=lambda e: e.map(order), kind="stable", ignore_index=True
    )
