"""Looking at corpora: what was asked for, whose codes mean what, and clips worth comparing."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pandas as pd

from helpers.corpora import CORPORA, Reading, class_order, load_listing, parse_names
from helpers.corpora.labels import AS_WRITTEN

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
    takes = clips.groupby(["channel", "speaker", "text"], sort=False)
    counts = takes["emotion"].nunique()
    speech = counts[counts.index.get_level_values("channel") == "speech"]
    chosen = takes.get_group((speech if len(speech) else counts).idxmax())
    rank = {intensity: place for place, intensity in enumerate(_INTENSITIES)}
    strength = chosen["intensity"].str.lower().map(rank).fillna(-1)
    chosen = chosen.iloc[np.argsort(-strength.to_numpy(), kind="stable")]
    order = class_order(chosen["emotion"])
    return chosen.drop_duplicates("emotion").set_index("emotion", drop=False).loc[order]


def describe_corpora(names: str | Iterable[str], reading: Reading = AS_WRITTEN) -> pd.DataFrame:
    """What is known of each named corpus, and how much of it is there.

    Parameters
    ----------
    names, reading
        As for :func:`helpers.corpora.load_corpora`.

    Returns
    -------
    pd.DataFrame
        Indexed by the names as given (own data by absolute path): ``title licence clips speakers
        synthetic``.
    """
    rows = {}
    for name in parse_names(names):
        clips = load_listing(name, reading).clips
        corpus = CORPORA.get(clips["corpus"].iloc[0])
        rows[name] = {
            "title": corpus.title if corpus else f"own data: {clips['corpus'].iloc[0]}",
            "licence": corpus.licence if corpus else "yours to know",
            "clips": len(clips),
            "speakers": clips["speaker"].nunique(),
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
        ``code``, and ``clips`` found there.

    Examples
    --------
    >>> clips = pd.DataFrame({"corpus": ["tess", "mine"], "emotion": ["surprise", "Wut"]})
    >>> codes = map_emotions(clips)
    >>> codes.loc[codes["clips"] > 0, ["emotion", "code", "clips"]].to_numpy().tolist()
    [['surprise', 'ps', 1], ['Wut', 'Wut', 1]]
    """
    rows = []
    for name, part in clips.groupby("corpus"):
        counts = part["emotion"].value_counts()
        codes = CORPORA[name].codes if name in CORPORA else {}
        codes = codes or {emotion: emotion for emotion in counts.index}
        for emotion in class_order({*codes.values(), *counts.index}):
            code = ", ".join(code for code, meaning in codes.items() if meaning == emotion)
            rows.append((emotion, name, code, counts.get(emotion, 0)))
    table = pd.DataFrame(rows, columns=["emotion", "corpus", "code", "clips"])
    order = class_order(table["emotion"])
    return table.sort_values(
        "emotion", key=lambda e: e.map(order.index), kind="stable", ignore_index=True
    )
