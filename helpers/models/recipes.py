"""How each model is trained: the networks of notebooks 04 and 05, and a support vector machine.

The notebooks show every step, with the numbers in their parameters. Here are the same numbers for
what trains without a notebook; a test compares the two. All recipes are used in the same way:
``recipe.fit_predict(x, clips, split, classes=classes, seed=seed)``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace

import numpy as np
import pandas as pd

from helpers.errors import UserError
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
from helpers.splits import SIDES

_COSTS = (0.3, 1.0, 3.0, 10.0)


@dataclass(frozen=True)
class NetworkRecipe:
    """A network with all that its training depends on besides the clips.

    Attributes
    ----------
    family : str
        Feature family that it takes, of :data:`helpers.features.extract.FAMILIES`.
    build : callable
        ``build(n_columns, n_classes)`` for a clip family, ``build((n_frames, n_bins), n_classes)``
        for a frame family; returns a body.
    settings : TrainingSettings
        Its ``seed`` is replaced by that of the fit.
    augment : callable, optional
        What is drawn for every training batch, ``augment(batch, rng) -> batch``.
    """

    family: str
    build: Callable
    settings: TrainingSettings
    augment: Callable | None = None

    def with_epochs(self, epochs: int) -> NetworkRecipe:
        """The same recipe with more or fewer epochs; it waits for the same share of them.

        Examples
        --------
        >>> RECIPES["cnn"].with_epochs(10).settings.wait
        5
        """
        wait = self.settings.wait * epochs // self.settings.epochs
        return replace(self, settings=replace(self.settings, epochs=epochs, wait=wait))

    def describe(self) -> dict:
        """``settings``, ``augment`` and a hash of the ``code`` of the network and its training."""
        settings = asdict(self.settings)
        del settings["seed"]
        functions = [self.build, prepare_keras, fit_model]
        if self.augment:
            functions.append(self.augment)
        return {
            "settings": settings,
            "augment": bool(self.augment),
            "code": hash_code(*functions),
        }

    def fit_predict(
        self,
        x: np.ndarray | pd.DataFrame,
        clips: pd.DataFrame,
        split: pd.Series,
        *,
        classes: list[str],
        seed: int,
    ) -> pd.DataFrame:
        """Train on the training side, stop by the validation side, and answer on the test side.

        Parameters
        ----------
        x : np.ndarray or pd.DataFrame
            Features of :attr:`family`, one row per clip.
        clips : pd.DataFrame
            Utterance table in the order of ``x``; ``emotion`` and ``shares`` are read.
        split : pd.Series
            Side of each clip.
        classes : list of str
            Emotions in the order of the outputs.
        seed : int
            Of weights, order, dropout and augmentation.

        Returns
        -------
        pd.DataFrame
            One row per test clip, in their order: ``predicted``, ``confidence`` and one column per
            emotion with its probability.
        """
        prepare_keras(seed)
        shape = x.shape[1:] if self.family in FRAME_FAMILIES else x.shape[1]
        model = self.build(shape, len(classes))
        fit_model(
            model,
            x,
            clips,
            split,
            classes=classes,
            settings=replace(self.settings, seed=seed),
            augment=self.augment,
        )
        tested = np.asarray(x)[(split == "test").to_numpy()].astype("float32")
        probabilities = model.predict(tested, batch_size=256, verbose=0)
        answers = pd.DataFrame(probabilities, columns=classes)
        answers.insert(0, "predicted", answers[classes].idxmax(axis=1))
        answers.insert(1, "confidence", answers[classes].max(axis=1))
        return answers


@dataclass(frozen=True)
class SvmRecipe:
    """The field's classical baseline: a support vector machine with an RBF kernel.

    Used like a :class:`NetworkRecipe`. It names an emotion and has no probabilities.
    """

    family: str

    def with_epochs(self, epochs: int) -> SvmRecipe:
        """There is nothing to set: a UserError."""
        raise UserError(f"epochs {epochs}: svm has none")

    def describe(self) -> dict:
        """As :meth:`NetworkRecipe.describe`."""
        return {"settings": {}, "augment": False, "code": hash_code(SvmRecipe.fit_predict)}

    def fit_predict(
        self,
        x: pd.DataFrame,
        clips: pd.DataFrame,
        split: pd.Series,
        *,
        classes: list[str],
        seed: int,
    ) -> pd.DataFrame:
        """As :meth:`NetworkRecipe.fit_predict`; ``confidence`` is NaN, and chance has no part.

        Columns are scaled by the training side, emotions are weighted by how rare they are, and
        the cost is the one with the best UAR on the validation side.
        """
        from sklearn.metrics import balanced_accuracy_score
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler
        from sklearn.svm import SVC

        train, held, test = (np.asarray(split == side) for side in SIDES)
        x, y = x.to_numpy(dtype="float64"), clips["emotion"].to_numpy()
        best, best_uar = None, -1.0
        for cost in _COSTS:
            machine = SVC(C=cost, class_weight="balanced", random_state=seed)
            model = make_pipeline(StandardScaler(), machine).fit(x[train], y[train])
            uar = balanced_accuracy_score(y[held], model.predict(x[held]))
            if uar > best_uar:
                best, best_uar = model, uar
        return pd.DataFrame({"predicted": best.predict(x[test]), "confidence": np.nan})


_LSTM = TrainingSettings(epochs=40, batch_size=64, learning_rate=0.003, patience=8)
_CNN = TrainingSettings(epochs=80, batch_size=16, learning_rate=0.0015, patience=20, wait=40)
_QUICK = replace(_CNN, epochs=24, batch_size=64, patience=10, wait=0)

#: Every model that can be trained without a notebook, by name.
RECIPES: dict[str, NetworkRecipe | SvmRecipe] = {
    "mfcc_lstm": NetworkRecipe("mfcc40", build_mfcc_lstm, _LSTM),
    "lstm": NetworkRecipe("logmel", build_lstm, _LSTM, augment=augment_frames),
    "functionals_mlp": NetworkRecipe("functionals", build_functionals_mlp, _QUICK),
    "vector_cnn": NetworkRecipe("vector162", build_vector_cnn, _QUICK),
    "cnn_lstm": NetworkRecipe("logmel", build_cnn_lstm, _QUICK, augment=augment_frames),
    "cnn": NetworkRecipe("logmel", build_cnn, _CNN, augment=augment_frames),
    "svm": SvmRecipe("functionals"),
}
