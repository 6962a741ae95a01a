"""Looking at corpora: what was asked for, and clips worth comparing."""

from __future__ import annotations

from collections.abc import Iterable

import pandas as pd


def pick_contrast(clips: pd.DataFrame) -> pd.DataFrame:
    """Clips of one speaker and one text, one an emotion: what differs is the emotion.

    Chooses the speaker and text with the most emotions; among equals, real recordings' most
    expressive take (``strong`` intensity), then the first in order.

    Parameters
    ----------
    clips : pd.DataFrame
        Utterance table.

    Returns
    -------
    pd.DataFrame
        Rows of ``clips``, at most one an emotion, in display order.

    Examples
    --------
    >>> clips = pd.DataFrame({"speaker": ["a", "a", "b"], "text": ["x", "x", "x"],
    ...     "emotion": ["angry", "neutral", "sad"], "intensity": "", "channel": "speech"})
    >>> pick_contrast(clips)["emotion"].tolist()
    ['neutral', 'angry']
    """
    from helpers.corpora import class_order

    groups = clips.groupby(["channel", "speaker", "text"], sort=False)["emotion"].nunique()
    speech = groups[groups.index.get_level_values("channel") == "speech"]
    channel, speaker, text = (speech if len(speech) else groups).idxmax()
    chosen = clips[
        (clips["speaker"] == speaker) & (clips["text"] == text) & (clips["channel"] == channel)
    ]
    # "strong" sorts after "normal" and "".
    chosen = chosen.sort_values("intensity", ascending=False, kind="stable")
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
    from helpers.corpora import CORPORA, load_corpora, parse_names

    rows = {}
    for name in parse_names(names):
        corpus, table = CORPORA.get(name), load_corpora([name])
        rows[name] = {
            "title": corpus.title if corpus else f"own data: {table['corpus'].iloc[0]}",
            "licence": corpus.licence if corpus else "yours to know",
            "citation": corpus.citation if corpus else "",
            "clips": len(table),
            "speakers": table["speaker"].nunique(),
            "emotions": table["emotion"].nunique(),
            "synthetic": bool(corpus and corpus.generated),
        }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("corpus")
