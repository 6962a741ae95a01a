"""From a recording to an estimate: one path for notebook, command line and live panel."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from helpers.columns import FACTS
from helpers.corpora import find_audio, load_manifest
from helpers.errors import UserError
from helpers.features.extract import compute_features
from helpers.models.modelfile import apply_temperature, card_settings, load_model
from helpers.runs import outputs_home
from helpers.sound.audio import SAMPLE_RATE, AudioError, fit_clip, load_audio

_BATCH = 16
_CHUNK = 64  # windows in memory at once


class Predictor:
    """A model file, ready to be asked.

    Parameters
    ----------
    path : str or Path
        A ``model.keras`` with its card.

    Attributes
    ----------
    classes : list of str
        Emotions in the order of the probabilities.
    card : dict
        See :mod:`helpers.models.modelfile`.
    threshold : float
        Confidence below which an answer counts as "not sure"; chosen on validation clips.

    Raises
    ------
    UserError
        The file is missing or its card does not match.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        import tensorflow as tf

        self.model, self.card = load_model(path)
        self.classes: list[str] = self.card["classes"]
        # Below one half, everything else together is likelier than the answer.
        self.threshold: float = self.card.get("threshold", 0.5)
        self._settings = card_settings(self.card)
        # One graph for batches of any size.
        self._call = tf.function(
            lambda x: self.model(x, training=False),
            input_signature=[tf.TensorSpec(self.model.input_shape)],
        )

    @property
    def is_synthetic(self) -> bool:
        """True if the model learned from the synthetic demo corpus, not from people."""
        return bool(self.card.get("synthetic", False))

    def prepare(self, y: np.ndarray) -> np.ndarray:
        """Turn a waveform into the model's inputs, one row per window.

        A clip of up to twice ``clip_s`` is fitted to ``clip_s`` as in training; a longer recording
        is cut into windows that overlap by half.

        Parameters
        ----------
        y : np.ndarray, shape (n,), float32
            16 kHz waveform.

        Returns
        -------
        np.ndarray, shape (n_windows, …), float32
        """
        if self.card["input"] != "waveform":
            row = compute_features(y, family=self.card["input"], settings=self._settings)
            if len(row) != self.model.input_shape[-1]:
                raise UserError(
                    f"{self.path}: takes {self.model.input_shape[-1]} columns, and "
                    f"{self.card['input']} has {len(row)} in this version: train it again"
                )
            return np.asarray([list(row.values())], dtype="float32")
        width = self._settings.n_samples
        if len(y) <= 2 * width:
            return fit_clip(y, width)[None]
        starts = range(0, len(y) - width // 2, width // 2)
        windows = np.stack([fit_clip(y[start : start + width], width) for start in starts])
        # Windows without any sound would vote for whatever silence resembles.
        heard = np.abs(windows).max(axis=1) > 1e-4
        return windows[heard] if heard.any() else windows

    def probabilities(self, inputs: np.ndarray) -> np.ndarray:
        """Calibrated probabilities of prepared inputs, shape (n, n_classes)."""
        rows = []
        for start in range(0, len(inputs), _BATCH):
            batch = inputs[start : start + _BATCH]
            # Twice, where there is one: a product with a single row is summed in another order,
            # and a clip's figures must not depend on its company.
            pair = np.repeat(batch, 2, axis=0) if len(batch) == 1 else batch
            rows.append(self._call(pair).numpy()[: len(batch)])
        return apply_temperature(np.concatenate(rows), self.card["temperature"])

    def predict_audio(self, y: np.ndarray, *, name: str = "") -> pd.DataFrame:
        """Estimate the emotion of one waveform.

        Parameters
        ----------
        y : np.ndarray, shape (n,), float32
            16 kHz mono.
        name : str
            What to call it in the column ``file``.

        Returns
        -------
        pd.DataFrame
            One row: ``file start_s end_s emotion confidence sure``, one column per emotion with
            its probability, ``error``. Where it is not ``sure``, the emotion is only the likeliest
            of several.
        """
        return self._table([(name, y)])

    def predict_files(self, paths: Iterable[str | Path]) -> pd.DataFrame:
        """Estimate the emotion of each file; a broken file is a row with its error.

        Returns
        -------
        pd.DataFrame
            One row per file in the order given; columns as :meth:`predict_audio`.
        """
        return self._table([(str(path), None) for path in paths])

    def predict_waves(self, waves: Sequence[np.ndarray]) -> pd.DataFrame:
        """Estimate the emotion of each waveform that is in memory.

        Parameters
        ----------
        waves : sequence of np.ndarray, each of shape (n,), float32
            16 kHz mono.

        Returns
        -------
        pd.DataFrame
            One row per waveform in the order given; columns as :meth:`predict_audio`, ``file``
            empty.
        """
        return self._table([("", y) for y in waves])

    def _table(self, clips: Sequence[tuple[str, np.ndarray | None]]) -> pd.DataFrame:
        from tqdm import tqdm

        rows, waiting = [], []
        scores = np.full((len(clips), len(self.classes)), np.nan)
        show = len(clips) > _CHUNK and sys.stderr.isatty()
        for place, (name, y) in enumerate(tqdm(clips, disable=not show, unit="file")):
            row = {"file": name, "start_s": 0.0, "end_s": np.nan, "error": ""}
            rows.append(row)
            try:
                y = load_audio(name) if y is None else y
            except AudioError as error:
                row["error"] = str(error)
                continue
            row["end_s"] = len(y) / SAMPLE_RATE
            waiting.append((place, self.prepare(np.asarray(y, dtype="float32"))))
            # By windows, not by files: memory stays flat for many files and for long ones.
            if sum(len(inputs) for _, inputs in waiting) >= _CHUNK:
                self._fill(scores, waiting)
                waiting = []
        if waiting:
            self._fill(scores, waiting)
        answers = pd.DataFrame(scores, columns=self.classes)
        table = pd.DataFrame(rows, columns=["file", "start_s", "end_s", "error"])
        heard = answers[table["error"] == ""]
        facts = table[["file", "start_s", "end_s"]].assign(
            emotion=heard.idxmax(axis=1).reindex(table.index, fill_value=""),
            confidence=answers.max(axis=1),
            sure=answers.max(axis=1) >= self.threshold,
        )
        return pd.concat([facts, answers, table["error"]], axis=1)

    def _fill(self, scores: np.ndarray, waiting: list[tuple[int, np.ndarray]]) -> None:
        """Write the mean over each clip's windows into its row of ``scores``."""
        windows = np.concatenate([inputs for _, inputs in waiting])
        owners = np.repeat([place for place, _ in waiting], [len(inputs) for _, inputs in waiting])
        means = pd.DataFrame(self.probabilities(windows)).groupby(owners).mean()
        scores[means.index] = means.to_numpy()


def find_model() -> Path:
    """Path of the ``model.keras`` that was written last under ``outputs/``.

    Raises
    ------
    UserError
        No run has written one yet.
    """
    found = sorted(outputs_home().glob("*/model.keras"), key=lambda path: path.stat().st_mtime)
    if not found:
        raise UserError(
            f"no model.keras under {outputs_home()}: train one with `ser run`, or name one with "
            "--model"
        )
    return found[-1]


def list_audio(paths: Iterable[str | Path]) -> list[Path]:
    """Files as given, and the audio files in folders; a folder without any is an error.

    Raises
    ------
    AudioError
        A folder holds no audio file.
    """
    files = []
    for path in map(Path, paths):
        inside = find_audio(path) if path.is_dir() else [path]
        if not inside:
            raise AudioError(
                file=str(path),
                found="a folder without audio files",
                expected="recordings such as .wav, .flac, .mp3, .ogg, .m4a",
                remedy="name the folder that holds them",
            )
        files += inside
    return files


def compare_with_labels(
    predictions: pd.DataFrame, labels: str | Path, classes: list[str]
) -> tuple[pd.DataFrame, list[str]]:
    """Join predictions with the true emotions of a CSV ``path,emotion``.

    Parameters
    ----------
    predictions : pd.DataFrame
        From :meth:`Predictor.predict_files`.
    labels : str or Path
        CSV in UTF-8 with a header; paths are absolute or relative to the CSV.
    classes : list of str
        Emotions that the model knows.

    Returns
    -------
    clips : pd.DataFrame
        Scored clips with ``emotion`` (true), ``predicted`` and ``speaker``.
    notes : list of str
        What could not be scored, and why.

    Raises
    ------
    UserError
        The CSV cannot be read as labels.
    """
    truth = load_manifest(labels).clips
    # Real paths: "../a.wav" and a link to a folder are the same clip.
    known = truth.assign(real=truth["path"].map(os.path.realpath)).drop_duplicates("real")
    clips = predictions.rename(columns={"emotion": "predicted"})
    clips["real"] = clips["file"].map(os.path.realpath)
    clips = clips.merge(known[["real", "emotion", "speaker"]], on="real", how="left")
    broken = clips["error"] != ""
    unlisted = clips["emotion"].isna() & ~broken
    unknown = ~clips["emotion"].isin(classes) & ~broken & ~unlisted
    notes = []
    for mask, why in ((broken, "could not be read"), (unlisted, f"are not listed in {labels}")):
        if mask.any():
            notes.append(f"{mask.sum()} files {why}: {', '.join(clips.loc[mask, 'file'][:3])}")
    if unknown.any():
        names = ", ".join(sorted(set(clips.loc[unknown, "emotion"])))
        notes.append(f"{unknown.sum()} files have an emotion that the model does not know: {names}")
    scored = ~(broken | unlisted | unknown)
    return clips.loc[scored, ["file", "predicted", "emotion", "speaker"]], notes


def predict_side(predictor: Predictor, clips: pd.DataFrame, protocol: str, side: str):
    """Predictions for the clips on one side of a split, beside their true emotions.

    Parameters
    ----------
    predictor : Predictor
    clips : pd.DataFrame
        Utterance table with a column named like ``protocol``.
    protocol, side : str

    Returns
    -------
    pd.DataFrame
        ``path sha256 corpus speaker gender intensity emotion`` (the truth), ``predicted``,
        ``confidence``, ``sure`` and one column per emotion with its probability.
    """
    chosen = clips[clips[protocol] == side].reset_index(drop=True)
    found = predictor.predict_files(chosen["path"]).rename(columns={"emotion": "predicted"})
    facts = chosen.reindex(columns=FACTS)
    answers = found[["predicted", "confidence", "sure", *predictor.classes]]
    return pd.concat([facts, answers], axis=1)
