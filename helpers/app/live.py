"""What is being said while it is said: for the panel, and for ``ser live``."""

from __future__ import annotations

import numpy as np
import pandas as pd

from helpers.sound.audio import AudioError, check_waveform
from helpers.sound.microphone import check_muted

WINDOW_S = 3.0  # of what was heard last
LONGEST_S = 600.0
_NEW = 0.5  # share of the new window in an estimate; it shares most of its sound with the last one


class Live:
    """A recording that grows, and an estimate of its last seconds whenever one is asked for.

    An estimate always is of the newest sound: who asks seldom misses windows, and never waits for
    old ones.

    Parameters
    ----------
    predictor : helpers.models.prediction.Predictor
    sr : float
        Sample rate in Hz of the blocks that will come.

    Attributes
    ----------
    rows : list of dict
        All estimates so far; :attr:`timeline` has them as a table.
    """

    def __init__(self, predictor, *, sr: float) -> None:
        self.predictor, self.sr = predictor, sr
        self._blocks: list[np.ndarray] = []
        self._last = np.zeros(0, "float32")
        self._smooth: pd.Series | None = None
        self.rows: list[dict] = []
        self.heard_s = 0.0

    def hear(self, block: np.ndarray) -> None:
        """Add what was heard next: float32, shape (n_samples,)."""
        self._blocks.append(block)
        self._last = np.concatenate([self._last, block])[-round(WINDOW_S * self.sr) :]
        self.heard_s += len(block) / self.sr

    def estimate(self) -> dict:
        """What the last seconds sound like, smoothed over time.

        Returns
        -------
        dict
            ``start_s end_s reason emotion confidence sure``, and a probability for each emotion;
            NaN where a reason says why there is no emotion. It begins where the last one ended.
        """
        classes = self.predictor.classes
        try:
            answer = self.predictor.predict_audio(self._last, self.sr).iloc[0]
            reason, new = answer["reason"], answer[classes].astype(float)
        except AudioError:  # not a sample that is not zero yet
            reason, new = "too quiet", pd.Series(np.nan, classes)
        if reason:
            self._smooth = None
        else:
            old = new if self._smooth is None else self._smooth
            new = self._smooth = _NEW * new + (1 - _NEW) * old
        start_s = self.rows[-1]["end_s"] if self.rows else 0.0
        row = {"start_s": start_s, "end_s": self.heard_s}
        row |= {"reason": reason, "emotion": "" if reason else new.idxmax()}
        row |= {"confidence": new.max(), "sure": bool(new.max() >= self.predictor.threshold)}
        self.rows.append(row | new.to_dict())
        return self.rows[-1]

    @property
    def timeline(self) -> pd.DataFrame:
        """All estimates so far, one row each."""
        return pd.DataFrame(self.rows)

    @property
    def sound(self) -> np.ndarray:
        """All that was heard, as :func:`helpers.sound.audio.check_waveform` gives it.

        Raises
        ------
        UserError
            The microphone is muted, or hardly anything was recorded.
        """
        sound = np.concatenate([self._last[:0], *self._blocks])
        check_muted(sound)
        return check_waveform(sound, sr=self.sr, name="the microphone")


def say(row: dict) -> str:
    """An estimate in words.

    >>> say({"reason": "no speech"})
    'no speech'
    """
    if row["reason"]:
        return row["reason"]
    likeliest = f"{row['emotion']} {row['confidence']:.0%}"
    return likeliest if row["sure"] else f"not sure, perhaps {likeliest}"
