"""Looking at corpora: how much is there, whose codes mean what, and clips worth comparing."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pandas as pd

from helpers.corpora import (
    CORPORA,
    Listing,
    Reading,
    class_order,
    find_odd,
    load_listing,
    locate,
    parse_names,
)
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


def survey_corpora(names: str | Iterable[str] = (), reading: Reading = AS_WRITTEN) -> pd.DataFrame:
    """What is known of each corpus, and how much of it is there by its file names; makes nothing.

    Parameters
    ----------
    names, reading
        As for :func:`helpers.corpora.load_corpora`; all of :data:`CORPORA` if none is named.

    Returns
    -------
    pd.DataFrame
        Indexed by the names as given (own data by absolute path): ``corpus title clips emotions
        odd expected_clips speakers expected_speakers licence state synthetic``. Nothing is
        expected of own data; what is odd is said in words. The state is ``complete``, ``n
        missing``, ``not there``, ``made at first use`` or ``own data``.

    Raises
    ------
    helpers.errors.UserError
        A name that is neither known nor a path, or own data that cannot be read as such.

    Examples
    --------
    >>> survey_corpora("tess")["expected_clips"].tolist()
    [2800]
    """
    rows = {}
    for name in parse_names(names or CORPORA):
        _, listing = find_clips(name, reading, make=False)
        clips, corpus = listing.clips, CORPORA.get(name)
        clips = clips[clips["emotion"].isin(reading.kept() or clips["emotion"])]
        counts = clips["emotion"].value_counts().reindex(class_order(clips["emotion"]))
        own = "" if corpus else listing.clips["corpus"].iloc[0]
        # A folder of one's own may hold a published corpus.
        known = corpus or CORPORA.get(own)
        rows[name] = {
            "corpus": own or name,
            "title": known.title if known else f"own data: {own}",
            "clips": len(clips),
            "emotions": ", ".join(f"{emotion} {n}" for emotion, n in counts.items()),
            "odd": "; ".join(find_odd(name, listing.clips)) if len(clips) else "",
            "expected_clips": corpus and corpus.n_clips,
            "speakers": clips["speaker"].nunique(),
            "expected_speakers": corpus and corpus.speakers,
            "licence": known.licence if known else "yours to know",
            "state": _state(name, listing),
            "synthetic": bool(known and known.generated),
        }
    table = pd.DataFrame.from_dict(rows, orient="index")
    return table.astype({"expected_clips": "Int64", "expected_speakers": "Int64"})


def find_clips(name: str, reading: Reading = AS_WRITTEN, *, make: bool) -> tuple[Path, Listing]:
    """Folder and clips of a corpus, perhaps none; ``make`` lets a generated one make itself."""
    if name not in CORPORA:
        return Path(name), load_listing(name, reading)
    folder = locate(CORPORA[name])
    return folder, CORPORA[name].load(folder, make=make)


def count_missing(name: str, listing: Listing) -> dict[str, tuple[int, int]]:
    """Emotions of which a published corpus lacks clips: how many are there, and how many ought."""
    found = listing.clips["emotion"].value_counts()
    counts = {e: (int(found.get(e, 0)), n) for e, n in CORPORA[name].counts.items()}
    return {emotion: (there, n) for emotion, (there, n) in counts.items() if there < n}


def _state(name: str, listing: Listing) -> str:
    if name not in CORPORA:
        absent = len(listing.paths("missing"))
        return f"{absent} missing" if absent else "own data"
    if listing.clips.empty:
        return "made at first use" if CORPORA[name].generated else "not there"
    absent = sum(n - there for there, n in count_missing(name, listing).values())
    return f"{absent} missing" if absent else "complete"


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
    places = table["emotion"].map(class_order(table["emotion"]).index)
    return table.loc[places.sort_values(kind="stable").index].reset_index(drop=True)
