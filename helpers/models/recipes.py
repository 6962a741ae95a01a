"""How each model is trained: the networks of notebooks 04 and 05, and a support vector machine.

The notebooks show every step, with the numbers in their parameters. Here are the same numbers for
what trains without a notebook; a test compares the two. All recipes are used in the same way:
``recipe.fit_predict(x, clips, split, classes=classes, seed=seed)``.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from helpers.corpora.labels import share_matrix
from helpers.corpora.table import name_few
from helpers.errors import UserError
from helpers.features.extract import FRAME_FAMILIES, FeatureSettings
from helpers.models.builders import (
    build_cnn,
    build_cnn_lstm,
    build_functionals_mlp,
    build_lstm,
    build_mfcc_lstm,
    build_vector_cnn,
    embed,
)
from helpers.models.modelfile import SHIPPED, load_model, read_card
from helpers.models.training import TrainingSettings, fit_model, prepare_keras
from helpers.runs import hash_code
from helpers.sound.augment import augment_frames
from helpers.splits import SIDES

#: Long frames and narrow bands: they part the harmonics of a low voice. The model that comes with a
#: clone learned from these.
FINE = FeatureSettings(n_fft=2048, n_mels=128)
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
    features : FeatureSettings
        How the features are computed.
    """

    family: str
    build: Callable
    settings: TrainingSettings
    augment: Callable | None = None
    features: FeatureSettings = FeatureSettings()

    def with_epochs(self, epochs: int) -> NetworkRecipe:
        """The same recipe with more or fewer epochs; it waits for the same share of them.

        Examples
        --------
        >>> RECIPES["cnn"].with_epochs(10).settings.wait
        5
        """
        wait = self.settings.wait * epochs // self.settings.epochs
        return replace(self, settings=replace(self.settings, epochs=epochs, wait=wait))

    def describe(self, tested: pd.DataFrame) -> dict:
        """``settings``, ``augment`` and a hash of the ``code`` of the networks and of training.

        ``tested`` are the clips of which predictions are wanted; a recipe may refuse them.
        """
        settings = asdict(self.settings)
        del settings["seed"]
        code = hash_code(self.build, fit_model, share_matrix, self.augment or self.build)
        return {"settings": settings, "augment": bool(self.augment), "code": code}

    def fit_predict(
        self,
        x: np.ndarray | pd.DataFrame,
        clips: pd.DataFrame,
        split: pd.Series,
        *,
        classes: list[str],
        seed: int,
    ) -> pd.DataFrame:
        """Train on the training set, stop by the validation set, and answer on the test set.

        Parameters
        ----------
        x : np.ndarray or pd.DataFrame
            Features of :attr:`family`, one row per clip.
        clips : pd.DataFrame
            Utterance table in the order of ``x``; ``emotion`` and ``shares`` are read.
        split : pd.Series
            Set of each clip.
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
        settings, augment = replace(self.settings, seed=seed), self.augment
        fit_model(model, x, clips, split, classes=classes, settings=settings, augment=augment)
        tested = np.asarray(x)[(split == "test").to_numpy()].astype("float32")
        probabilities = model.predict(tested, batch_size=256, verbose=0)
        return _name_answers(probabilities, classes)


def _name_answers(probabilities: np.ndarray, classes: list[str]) -> pd.DataFrame:
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
    features: FeatureSettings = FeatureSettings()

    def with_epochs(self, epochs: int) -> SvmRecipe:
        """There is nothing to set: a UserError."""
        raise UserError(f"epochs {epochs}: this model has none")

    def describe(self, tested: pd.DataFrame) -> dict:
        """As :meth:`NetworkRecipe.describe`."""
        return {"settings": {}, "augment": False, "code": hash_code(SvmRecipe)}

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

        Columns are scaled by the training set, emotions are weighted by how rare they are, and
        the cost is the one with the best UAR on the validation set.
        """
        from sklearn.metrics import balanced_accuracy_score
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler
        from sklearn.svm import SVC

        train, held, test = (np.asarray(split == side) for side in SIDES)
        x, y = x.to_numpy(dtype="float64"), clips["emotion"].to_numpy()
        options = {"class_weight": "balanced", "random_state": seed}
        models = [make_pipeline(StandardScaler(), SVC(C=cost, **options)) for cost in _COSTS]

        def score(model) -> float:
            return balanced_accuracy_score(y[held], model.predict(x[held]))

        best = max((model.fit(x[train], y[train]) for model in models), key=score)
        return pd.DataFrame({"predicted": best.predict(x[test]), "confidence": np.nan})


@dataclass(frozen=True)
class PretrainedRecipe(SvmRecipe):
    """A new last layer on the model that comes with a clone, for one's own emotions.

    All else stays as it is: a handful of speakers is enough, and a training takes seconds.
    """

    def describe(self, tested: pd.DataFrame) -> dict:
        """As :meth:`NetworkRecipe.describe`, and which model it begins with."""
        heard = find_heard(tested)
        if heard:
            raise UserError(
                f"{SHIPPED}: this model has learned from {name_few(heard)}, so a score on them "
                "would be worth nothing. Train from scratch, or test other people"
            )
        begin = hashlib.sha256(SHIPPED.read_bytes()).hexdigest()[:16]
        code = hash_code(begin_from_shipped, embed)
        return {"settings": {}, "augment": False, "code": code, "begin": begin}

    def fit_predict(self, x, clips, split, *, classes, seed) -> pd.DataFrame:
        """As :meth:`NetworkRecipe.fit_predict`; validation clips are learned, nothing is chosen."""
        x, test, heard = np.asarray(x), split == "test", split.isin(["train", "validation"])
        model = begin_from_shipped(x[heard], clips[heard], classes=classes, seed=seed)
        tested = x[test].astype("float32")
        return _name_answers(model.predict(tested, batch_size=64, verbose=0), classes)


def begin_from_shipped(
    x: np.ndarray, clips: pd.DataFrame, *, classes: list[str], seed: int = 0, path: Path = SHIPPED
):
    """Give a trained model a new last layer for other emotions; all else stays as it is.

    Parameters
    ----------
    x : np.ndarray, shape (n_clips, n_frames, n_mels)
        Log-mel frames of :data:`FINE`, of the clips to learn from.
    clips : pd.DataFrame
        Their utterance table; ``emotion`` is read.
    classes : list of str
        Emotions in the order of the outputs.
    seed : int
    path : Path
        The model to begin from: that which comes with a clone.

    Returns
    -------
    keras.Model
        A body, named ``pretrained``: log-mel frames in, probabilities out.
    """
    from keras import Input, Model

    begin, _ = load_model(path)
    start = embed(begin.layers[-1])
    columns = start.predict(x.astype("float32"), batch_size=64, verbose=0)
    head = fit_head(columns, clips["emotion"], classes=classes, seed=seed)
    inputs = Input(start.input_shape[1:], name="log_mel_frames")
    return Model(inputs, head(start(inputs)), name="pretrained")


def find_heard(clips: pd.DataFrame) -> list[str]:
    """Speakers of these clips from whom the model that comes with a clone has learned."""
    return sorted(set(clips["speaker"]) & set(read_card(SHIPPED)["speakers"]["train"]))


def make_linear_model(seed: int = 0):
    """Standardised columns and a logistic regression, classes weighted by how rare they are."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    # Strongly regularised: there are as many columns as clips of a class.
    return make_pipeline(
        StandardScaler(),
        LogisticRegression(C=0.01, max_iter=2000, class_weight="balanced", random_state=seed),
    )


def fit_head(columns: np.ndarray, emotions: pd.Series, *, classes: list[str], seed: int = 0):
    """Learn to name emotions from what :func:`helpers.models.builders.embed` gives.

    Parameters
    ----------
    columns : np.ndarray, shape (n_clips, n_columns)
    emotions : pd.Series
        Of these clips.
    classes : list of str
        In the order of the outputs; one that no clip has gets a probability near 0.
    seed : int

    Returns
    -------
    keras.Model
        One dense layer, columns in, probabilities out: :func:`make_linear_model` as Keras has it.
    """
    from keras import Input, Model, layers

    scaler, linear = (step for _, step in make_linear_model(seed).fit(columns, emotions).steps)
    weights, bias = linear.coef_, linear.intercept_
    if len(linear.classes_) == 2:  # one row says how far the second is ahead of the first
        weights, bias = np.vstack([-weights, weights]) / 2, np.concatenate([-bias, bias]) / 2
    places = [classes.index(name) for name in linear.classes_]
    kernel, offset = np.zeros((columns.shape[1], len(classes))), np.full(len(classes), -30.0)
    kernel[:, places] = (weights / scaler.scale_).T
    offset[places] = bias - weights @ (scaler.mean_ / scaler.scale_)
    inputs = Input((columns.shape[1],), name="embedding")
    outputs = layers.Dense(len(classes), activation="softmax")(inputs)
    head = Model(inputs, outputs, name="head")
    head.set_weights([kernel, offset])
    return head


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
    "pretrained": PretrainedRecipe("logmel", FINE),
    "svm": SvmRecipe("functionals"),
}
