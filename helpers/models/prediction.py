"""From a recording to an estimate: one path for notebook, command line and live panel."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from helpers.columns import FACTS
from helpers.corpora import find_audio, load_manifest
from helpers.errors import UserError
from helpers.features.extract import FeatureSettings, compute_features
from helpers.models.modelfile import SHIPPED, apply_temperature, load_model
from helpers.runs import outputs_home
from helpers.sound.audio import SAMPLE_RATE, AudioError, check_waveform, fit_clip, load_audio

_BATCH = 16
_CHUNK = 64  # windows in memory at once
_HEARD = 1e-4  # peak of a window that holds a sound


class Predictor:
    """A model file, ready to be asked.

    Attributes
    ----------
    classes : list of str
        Emotions in the order of the probabilities.
    card : dict
        See :mod:`helpers.models.modelfile`.
    settings : FeatureSettings
        Those that the model was trained with.
    threshold : float
        Confidence below which an answer counts as "not sure"; chosen on validation clips.
    """

    def __init__(self, path: str | Path) -> None:
        import tensorflow as tf

        self.path = Path(path)
        self.model, self.card = load_model(path)
        self.classes: list[str] = self.card["classes"]
        # Below one half, everything else together is likelier than the answer.
        self.threshold: float = self.card.get("threshold", 0.5)
        self.settings = FeatureSettings(**self.card["features"])
        # One graph for batches of any size.
        self._call = tf.function(
            lambda x: self.model(x, training=False),
            input_signature=[tf.TensorSpec(self.model.input_shape)],
        )

    @property
    def is_synthetic(self) -> bool:
        """True if the model learned from the synthetic demo corpus, not from people."""
        return bool(self.card.get("synthetic", False))

    def introduce(self) -> str:
        """Which model answers, what it learned from, and how good it is, in one line."""
        corpora = ", ".join(self.card.get("corpora", [])) or "unknown recordings"
        line = f"{self.path}: {self.card['name']}, learned from {corpora}"
        if self.is_synthetic:
            line += ", synthetic voices, so that it says nothing about real speech"
        score = self.card.get("description", {}).get("headline")
        if score is None:
            return f"{line}; its score on other clips is not known"
        low, high = score["uar_interval"]
        return (
            f"{line}; UAR {score['uar']:.2f} [{low:.2f}, {high:.2f}] on {score['n']} clips of "
            f"{score['n_speakers']} speakers, {score['protocol']} (guessing: {score['chance']:.2f})"
        )

    def prepare(self, y: np.ndarray) -> np.ndarray:
        """Turn a 16 kHz waveform into the model's inputs, one float32 row per window.

        A clip of up to twice ``clip_s`` is fitted to ``clip_s`` as in training; a longer recording
        is cut into windows that overlap by half.
        """
        if self.card["input"] != "waveform":
            row = compute_features(y, family=self.card["input"], settings=self.settings)
            n_columns = self.model.input_shape[-1]
            if len(row) != n_columns:
                raise UserError(
                    f"{self.path}: takes {n_columns} columns, and {self.card['input']} has "
                    f"{len(row)} in this version: train it again"
                )
            return np.asarray([list(row.values())], dtype="float32")
        width = self.settings.n_samples
        if len(y) <= 2 * width:
            return fit_clip(y, width)[None]
        starts = range(0, len(y) - width // 2, width // 2)
        windows = np.stack([fit_clip(y[start : start + width], width) for start in starts])
        # Windows without any sound would vote for whatever silence resembles.
        heard = np.abs(windows).max(axis=1) > _HEARD
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

    def predict_audio(
        self, y: np.ndarray, sr: int = SAMPLE_RATE, *, name: str = ""
    ) -> pd.DataFrame:
        """Estimate the emotion of one waveform, called ``name`` in the column ``file``.

        Parameters
        ----------
        y : np.ndarray, shape (n_samples,)
            As for :func:`helpers.sound.audio.check_waveform`: channels and integers are converted,
            what holds no sound is an :class:`AudioError`.
        sr : int
            Its sample rate in Hz.
        name : str

        Returns
        -------
        pd.DataFrame
            One row: ``file start_s end_s emotion confidence sure``, one column per emotion with
            its probability, ``error``. Where it is not ``sure``, the emotion is only the likeliest
            of several.
        """
        return self._table([(name, check_waveform(y, sr=sr, name=name or "the sound"))])

    def predict_files(
        self, paths: str | Path | Iterable[str | Path], *, channel: int | None = None
    ) -> pd.DataFrame:
        """As :meth:`predict_audio`, one row per file; a broken file is a row with its error.

        Parameters
        ----------
        paths : path, or iterable of paths
        channel : int, optional
            This channel alone, from 0; all are averaged if not given.
        """
        paths = [paths] if isinstance(paths, str | os.PathLike) else paths
        return self._table([(str(path), None) for path in paths], channel)

    def predict_windows(self, y: np.ndarray) -> pd.DataFrame:
        """Answers over time: one row per window of ``clip_s`` seconds, each half over the last.

        Parameters
        ----------
        y : np.ndarray, shape (n_samples,), float32
            16 kHz waveform as ``load_audio`` gives it.

        Returns
        -------
        pd.DataFrame
            ``start_s end_s emotion confidence sure`` and one column per emotion. A window without
            sound has no emotion.

        Raises
        ------
        UserError
            The model takes one row of figures per clip, and no waveform.
        """
        if self.card["input"] != "waveform":
            raise UserError(f"{self.path}: answers for whole clips only, not over time")
        width = self.settings.n_samples
        starts = np.arange(0, max(len(y) - width // 2, 1), width // 2)
        rows = []
        for place in range(0, len(starts), _CHUNK):  # memory stays flat
            chunk = starts[place : place + _CHUNK]
            windows = np.stack([fit_clip(y[start : start + width], width) for start in chunk])
            heard = np.abs(windows).max(axis=1, keepdims=True) > _HEARD
            rows.append(np.where(heard, self.probabilities(windows), np.nan))
        answers = pd.DataFrame(np.concatenate(rows), columns=self.classes)
        likeliest = answers.dropna().idxmax(axis=1).reindex(answers.index, fill_value="")
        times = pd.DataFrame({"start_s": starts, "end_s": np.minimum(starts + width, len(y))})
        facts = (times / SAMPLE_RATE).assign(
            emotion=likeliest,
            confidence=answers.max(axis=1),
            sure=answers.max(axis=1) >= self.threshold,
        )
        return pd.concat([facts, answers], axis=1)

    def predict_waves(self, waves: Sequence[np.ndarray]) -> pd.DataFrame:
        """As :meth:`predict_files`, of waveforms as ``load_audio`` gives them; no ``file``."""
        return self._table([("", y) for y in waves])

    def _table(
        self, clips: Sequence[tuple[str, np.ndarray | None]], channel: int | None = None
    ) -> pd.DataFrame:
        from tqdm import tqdm

        rows, waiting = [], []
        scores = np.full((len(clips), len(self.classes)), np.nan)
        bar = tqdm(clips, disable=None, leave=False, unit="file")  # on a terminal only
        for place, (name, y) in enumerate(bar):
            row = {"file": name, "start_s": 0.0, "end_s": np.nan, "error": ""}
            rows.append(row)
            try:
                y = load_audio(name, channel=channel) if y is None else y
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
    """Path of the model that comes with the project, else of the one that was written last."""
    if SHIPPED.exists():
        return SHIPPED
    found = outputs_home().glob("*/model.keras")
    latest = max(found, key=lambda path: path.stat().st_mtime, default=None)
    if latest is None:
        raise UserError(
            f"no model.keras in {SHIPPED.parent} or under {outputs_home()}: train one with "
            "`ser run`, or name one with --model"
        )
    return latest


def list_audio(paths: Iterable[str | Path]) -> list[Path]:
    """Files as given, the audio files in folders, and what patterns such as ``*.wav`` match.

    Raises
    ------
    UserError
        A folder without audio files, or a pattern that matches nothing.
    """
    files = []
    for path in map(Path, paths):
        found = [path]
        # A shell of Windows leaves patterns to the program. A file may also be called "[1].wav".
        if glob.has_magic(str(path)) and not path.exists():
            found = [Path(name) for name in sorted(glob.glob(str(path), recursive=True))]
        inside = [f for place in found for f in (find_audio(place) if place.is_dir() else [place])]
        if not inside:
            what = "a folder without" if path.is_dir() else "a pattern that matches no"
            raise UserError(f"{path}: {what} audio files such as .wav, .flac or .mp3")
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
        What could be read and not be scored, and why.

    Raises
    ------
    UserError
        The CSV cannot be read as labels.
    """
    truth = load_manifest(labels).clips
    # Real paths: "../a.wav" and a link to a folder are the same clip.
    known = truth.assign(real=truth["path"].map(os.path.realpath)).drop_duplicates("real")
    heard = predictions[predictions["error"] == ""]
    clips = heard.rename(columns={"emotion": "predicted"})
    clips["real"] = clips["file"].map(os.path.realpath)
    clips = clips.merge(known[["real", "emotion", "speaker"]], on="real", how="left")
    unlisted = clips["emotion"].isna()
    unknown = ~clips["emotion"].isin(classes) & ~unlisted
    notes = []
    if unlisted.any():
        names = ", ".join(clips.loc[unlisted, "file"][:3])
        notes.append(f"{unlisted.sum()} files are not listed in {labels}: {names}")
    if unknown.any():
        names = ", ".join(sorted(set(clips.loc[unknown, "emotion"])))
        notes.append(f"{unknown.sum()} files have an emotion that the model does not know: {names}")
    return clips.loc[~(unlisted | unknown), ["file", "predicted", "emotion", "speaker"]], notes


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
