"""Fit a body on the training set, keep the best epoch by the validation set, save it.

The test set is never passed to anything in this module.
"""

from __future__ import annotations

import logging
import os
import sys
import time
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

from helpers.corpora.labels import share_matrix
from helpers.features.extract import FeatureSettings
from helpers.models.builders import with_front_end
from helpers.models.modelfile import make_card, save_model
from helpers.runs import Run

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class TrainingSettings:
    """What a fit depends on besides its data.

    Attributes
    ----------
    epochs : int
        Passes at most; early stopping may end before.
    batch_size : int
        Clips per step.
    learning_rate : float
        Of AdamW at its highest: it rises over the first twentieth of the epochs and then falls
        along a cosine to a hundredth.
    patience : int
        Epochs without a better validation loss before stopping.
    seed : int
        Order of the clips and augmentation; weights and dropout follow :func:`prepare_keras`.
    wait : int
        Epochs before one may be kept or training be stopped: at a high learning rate a good epoch
        is luck, and the quiet end of the schedule is what a network with augmentation needs.
    weight_decay, label_smoothing : float
        Both keep a network from becoming too sure of a few hundred clips.
    """

    epochs: int = 60
    batch_size: int = 16
    learning_rate: float = 1.5e-3
    patience: int = 15
    seed: int = 0
    wait: int = 0
    weight_decay: float = 1e-3
    label_smoothing: float = 0.1


def prepare_keras(seed: int) -> None:
    """Import TensorFlow without its start-up messages, seed it, and make it repeat itself.

    The seed is for Python, NumPy and Keras. With deterministic kernels, the same seed on the same
    machine gives the same weights.
    """
    if "tensorflow" not in sys.modules:
        _import_quietly()
    import keras
    import tensorflow as tf

    tf.get_logger().setLevel("ERROR")  # it warns when several networks are trained in a row
    keras.utils.clear_session()
    keras.utils.set_random_seed(seed)
    tf.config.experimental.enable_op_determinism()


def _import_quietly() -> None:
    """Import TensorFlow, holding back what its C++ side prints before any log level applies."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    # Keras looks for these two for functions that nobody needs here; they take over a second.
    left_out: dict = {name: None for name in ("sklearn", "matplotlib") if name not in sys.modules}
    before = os.dup(2)
    with open(os.devnull, "w") as nowhere:
        os.dup2(nowhere.fileno(), 2)
    try:
        sys.modules.update(left_out)
        import tensorflow as tf

        tf.constant(0)
    finally:
        for name in left_out:
            del sys.modules[name]
        os.dup2(before, 2)
        os.close(before)


def fit_model(
    model,
    x: np.ndarray | pd.DataFrame,
    clips: pd.DataFrame,
    split: pd.Series,
    *,
    classes: list[str],
    settings: TrainingSettings,
    augment=None,
    share: pd.Series | None = None,
) -> pd.DataFrame:
    """Train ``model`` in place and leave it at its best epoch. Its progress is logged.

    Parameters
    ----------
    model : keras.Model
        A body from :mod:`helpers.models.builders`.
    x : np.ndarray or pd.DataFrame
        Features, one row per clip.
    clips : pd.DataFrame
        Utterance table in the order of ``x``; ``emotion`` is read, and ``shares`` where raters
        disagreed: then each emotion is learned by its share.
    split : pd.Series
        Set of each clip.
    classes : list of str
        Emotions in the order of the model's outputs.
    settings : TrainingSettings
    augment : callable, optional
        ``augment(batch, rng) -> batch`` on features of the training set only.
    share : pd.Series, optional
        How often an epoch takes each clip on average, instead of once: another part of a large
        corpus each time, a rare clip twice. It then says what counts, and emotions have no weights.

    Returns
    -------
    pd.DataFrame
        One row per epoch: ``epoch loss accuracy val_loss val_accuracy learning_rate kept``.

    Notes
    -----
    Classes are weighted by the inverse of their frequency on the training set, and a layer named
    ``scale`` is fitted to that set alone.
    """
    import keras

    x = np.asarray(x)  # frames stay where they are, on the disk, until their batch is needed
    targets = share_matrix(clips, classes)
    train, validation = (split == "train").to_numpy(), (split == "validation").to_numpy()
    if "scale" in {layer.name for layer in model.layers}:
        model.get_layer("scale").adapt(x[train].astype("float32"))
    compile_model(model, settings)
    stopping = {"patience": settings.patience, "start_from_epoch": settings.wait}
    begin = time.perf_counter()
    log = model.fit(
        _make_batches(x, targets, np.flatnonzero(train), settings, augment, share),
        validation_data=_make_batches(x, targets, np.flatnonzero(validation)),
        epochs=settings.epochs,
        verbose=0,
        callbacks=[
            keras.callbacks.LearningRateScheduler(
                partial(schedule_learning_rate, settings=settings)
            ),
            keras.callbacks.EarlyStopping("val_loss", restore_best_weights=True, **stopping),
            keras.callbacks.LambdaCallback(on_epoch_end=partial(_log_epoch, settings=settings)),
        ],
    )
    history = pd.DataFrame(log.history).rename_axis("epoch").reset_index()
    history["epoch"] += 1
    kept = history["val_loss"][min(settings.wait, len(history) - 1) :].idxmin()
    history["kept"] = history.index == kept
    what = f"{model.name}: {model.count_params():,} parameters"
    seconds = time.perf_counter() - begin
    _LOG.info("%s, %d epochs in %.0f s, kept epoch %d", what, len(history), seconds, kept + 1)
    return history


def compile_model(model, settings: TrainingSettings) -> None:
    """Optimiser and loss of every training; the gradient is cut to a norm of 2."""
    import keras

    model.compile(
        optimizer=keras.optimizers.AdamW(weight_decay=settings.weight_decay, global_clipnorm=2.0),
        loss=keras.losses.CategoricalCrossentropy(label_smoothing=settings.label_smoothing),
        metrics=["accuracy"],
    )


def weigh_classes(y: np.ndarray, n_classes: int) -> np.ndarray:
    """Weight of each class in the loss: the rarer it is among the numbers ``y``, the more."""
    counts = np.maximum(np.bincount(y, minlength=n_classes), 1)
    return (counts.mean() / counts).astype("float32")


def schedule_learning_rate(epoch: int, *_: float, settings: TrainingSettings) -> float:
    """Learning rate of an epoch (from 0): a linear rise, then half a cosine."""
    rise = max(1, settings.epochs // 20)
    if epoch < rise:
        return settings.learning_rate * (epoch + 1) / rise
    way = (epoch - rise) / max(1, settings.epochs - rise)
    return settings.learning_rate * (0.01 + 0.99 * (1 + np.cos(np.pi * way)) / 2)


def _make_batches(x, targets, clips, settings=None, augment=None, share=None):
    """Batches of the rows ``clips``, read from the disk one after the other.

    With settings they are for learning: shuffled, weighted and augmented, the same for one seed.
    """
    import keras

    n_classes = targets.shape[1]
    y = targets.argmax(axis=1)
    weights = weigh_classes(y[clips], n_classes)
    taken = np.ones(len(clips))
    if share is not None:
        taken, weights = share.to_numpy()[clips], np.ones(n_classes, "float32")
    per_epoch = round(taken.sum())
    size = settings.batch_size if settings else 128

    class Batches(keras.utils.PyDataset):
        def __init__(self) -> None:
            # The next batch is augmented while this one is learned; else a thread only costs time.
            super().__init__(workers=2 if augment else 1)
            self.epoch = -1
            self.on_epoch_end()

        def __len__(self) -> int:
            return int(np.ceil(per_epoch / size))

        def __getitem__(self, step: int):
            rows = self.order[step * size : (step + 1) * size]
            batch = x[rows].astype("float32")
            if augment is not None:
                # A generator per batch: Keras fetches batches ahead, and may fetch one twice.
                batch = augment(batch, np.random.default_rng([settings.seed, self.epoch, step]))
            return (batch, targets[rows], weights[y[rows]]) if settings else (batch, targets[rows])

        def on_epoch_end(self) -> None:
            self.epoch += 1
            self.order = clips
            if settings is None:
                return
            rng = np.random.default_rng([settings.seed, self.epoch])
            order = rng.permutation(len(clips))
            if share is not None:
                # Even steps over the shares: each clip is met as often as it says, rounded.
                places = np.searchsorted(taken[order].cumsum(), np.arange(per_epoch) + 0.5)
                order = rng.permutation(order[places])
            self.order = clips[order]

    return Batches()


def _log_epoch(epoch: int, logs: dict, *, settings: TrainingSettings) -> None:
    """One line for about every eighth of the epochs."""
    if epoch % max(1, settings.epochs // 8) == 0:
        values = "  ".join(f"{name} {value:.3g}" for name, value in logs.items())
        _LOG.info("epoch %3d  %s", epoch + 1, values)


def list_candidates(run: Run, protocols: list[str]) -> dict[tuple[str, str], Path]:
    """Files of :func:`save_candidate` by (protocol, name of the model), in alphabetical order.

    A run folder may also have models of a protocol that its clips no longer have.
    """
    found = sorted(run.folder.glob("models/*/*.keras"))
    return {(path.parent.name, path.stem): path for path in found if path.parent.name in protocols}


def save_candidate(
    run: Run,
    model,
    x: np.ndarray | pd.DataFrame,
    clips: pd.DataFrame,
    *,
    protocol: str,
    family: str,
    classes: list[str],
    features: FeatureSettings,
    settings: TrainingSettings | None,
    base: dict | None = None,
) -> dict:
    """Score a trained body on the validation set and save it with its card.

    A body on log-mel frames, without deltas, is saved with the front end: raw waveform in.

    Parameters
    ----------
    run : Run
    model : keras.Model
        A trained body; its name is the candidate's.
    x : np.ndarray or pd.DataFrame
        Features of all clips, one row per clip.
    clips : pd.DataFrame
        Utterance table with a column named like ``protocol`` that names the set of each clip.
    protocol, family : str
    classes : list of str
    features : FeatureSettings
    settings : TrainingSettings, optional
        None where the model was not trained by :func:`fit_model`.
    base : dict, optional
        Card of the model that it began from: its speakers, corpora and licences count here too.

    Returns
    -------
    dict
        ``model protocol uar accuracy n`` on the validation set.
    """
    from sklearn.metrics import accuracy_score, balanced_accuracy_score

    side = clips[protocol]
    held = (side == "validation").to_numpy()
    probabilities = model.predict(np.asarray(x)[held].astype("float32"), batch_size=256, verbose=0)
    said = np.asarray(classes, dtype=object)[probabilities.argmax(axis=1)]
    true = clips.loc[held, "emotion"]
    scores = {
        "uar": float(balanced_accuracy_score(true, said)),
        "accuracy": float(accuracy_score(true, said)),
        "n": int(held.sum()),
    }
    data = run.read_json("data.json", made_by="01_explore")
    base = base or {"speakers": {"train": []}, "corpora": [], "licences": {}, "name": ""}
    speakers = {name: sorted(part["speaker"].unique()) for name, part in clips.groupby(side)}
    card = make_card(
        name=model.name,
        input="waveform" if family.startswith("logmel") else family,
        classes=classes,
        settings=features,
        protocol=protocol,
        began_from=base["name"],
        corpora=sorted({*clips["corpus"], *base["corpora"]}),
        speakers=speakers | {"train": sorted({*speakers["train"], *base["speakers"]["train"]})},
        clips=side.value_counts().to_dict(),
        training=asdict(settings) if settings else {},
        validation=scores,
        parameters=model.count_params(),
        synthetic=data["synthetic"],
        fingerprint=data["fingerprint"],
        licences=data["licences"] | base["licences"],
    )
    whole = with_front_end(model, features) if family.startswith("logmel") else model
    save_model(whole, run.path(f"models/{protocol}/{model.name}.keras"), card)
    return {"model": model.name, "protocol": protocol, **scores}
