"""How each architecture is trained: what notebooks 04 and 05 do, under a name.

The notebooks show every step and say the numbers in their parameters; here the same numbers stand
for what trains without a notebook. A test compares the two.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from helpers.features.extract import FRAME_FAMILIES
from helpers.models.builders import (
    build_cnn,
    build_cnn_lstm,
    build_functionals_mlp,
    build_lstm,
    build_mfcc_lstm,
    build_vector_cnn,
)
from helpers.models.training import TrainingSettings, fit_model, prepare_keras
from helpers.runs import hash_code
from helpers.sound.augment import augment_frames


@dataclass(frozen=True)
class Recipe:
    """An architecture with all that its training depends on besides the clips.

    Attributes
    ----------
    family : str
        Feature family that it takes, of :data:`helpers.features.extract.FAMILIES`.
    build : callable
        ``build(n_columns, n_classes)`` for a clip family, ``build((n_frames, n_bins), n_classes)``
        for a frame family; returns a body.
    settings : TrainingSettings
        Its ``seed`` is replaced by that of the fit.
    augment : bool
        True if every training batch is drawn anew (:func:`helpers.sound.augment.augment_frames`).
    """

    family: str
    build: Callable
    settings: TrainingSettings
    augment: bool

    def with_epochs(self, epochs: int) -> Recipe:
        """The same recipe in more or fewer epochs, of which it waits as large a share.

        Examples
        --------
        >>> RECIPES["cnn"].with_epochs(10).settings.wait
        5
        """
        wait = self.settings.wait * epochs // self.settings.epochs
        return replace(self, settings=replace(self.settings, epochs=epochs, wait=wait))

    def hash_code(self) -> str:
        """Short hash of the code of the network and of its training."""
        draw = [augment_frames] if self.augment else []
        return hash_code(self.build, prepare_keras, fit_model, *draw)

    def fit(
        self,
        x: np.ndarray | pd.DataFrame,
        emotions: pd.Series,
        split: pd.Series,
        *,
        classes: list[str],
        seed: int,
    ):
        """Build the network and train it; the test side is not looked at.

        Parameters
        ----------
        x : np.ndarray or pd.DataFrame
            Features of :attr:`family`, a row a clip.
        emotions, split : pd.Series
            Label and side of each clip, in the order of ``x``.
        classes : list of str
            Emotions in the order of the outputs.
        seed : int
            Of weights, order, dropout and augmentation.

        Returns
        -------
        keras.Model
            At its best epoch on the validation side.
        """
        prepare_keras(seed)
        shape = x.shape[1:] if self.family in FRAME_FAMILIES else x.shape[1]
        model = self.build(shape, len(classes))
        fit_model(
            model,
            x,
            emotions,
            split,
            classes=classes,
            settings=replace(self.settings, seed=seed),
            augment=augment_frames if self.augment else None,
        )
        return model


_LSTM = TrainingSettings(epochs=40, batch_size=64, learning_rate=0.003, patience=8)
_CNN = TrainingSettings(epochs=80, batch_size=16, learning_rate=0.0015, patience=20, wait=40)
_QUICK = replace(_CNN, epochs=24, batch_size=64, patience=10, wait=0)

#: The six networks of notebooks 04 and 05 by name.
RECIPES: dict[str, Recipe] = {
    "mfcc_lstm": Recipe("mfcc40", build_mfcc_lstm, _LSTM, augment=False),
    "lstm": Recipe("logmel", build_lstm, _LSTM, augment=True),
    "functionals_mlp": Recipe("functionals", build_functionals_mlp, _QUICK, augment=False),
    "vector_cnn": Recipe("vector162", build_vector_cnn, _QUICK, augment=False),
    "cnn_lstm": Recipe("logmel", build_cnn_lstm, _QUICK, augment=True),
    "cnn": Recipe("logmel", build_cnn, _CNN, augment=True),
}
