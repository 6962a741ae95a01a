"""From a recording to an estimate: one path for notebook, command line and live panel."""

from __future__ import annotations

import glob
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from helpers.columns import FACTS
from helpers.corpora.table import find_audio
from helpers.errors import UserError
from helpers.features.extract import FeatureSettings, compute_features
from helpers.features.voice import judge_speech
from helpers.models.modelfile import SHIPPED, apply_temperature, load_model
from helpers.parallel import SCHEDULER, map_clips
from helpers.runs import outputs_home
from helpers.sound.audio import (
    LONGEST_S,
    SAMPLE_RATE,
    AudioError,
    check_waveform,
    fit_clip,
    load_audio,
    name_source,
)

_BATCH = 16
_PART = 200  # recordings that a worker of a cluster answers at a time
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
        try:
            low, high = score["uar_interval"]
            return (
                f"{line}; UAR {score['uar']:.2f} [{low:.2f}, {high:.2f}] on {score['n']} clips of "
                f"{score['n_speakers']} speakers, {score['protocol']} "
                f"(guessing: {score['chance']:.2f})"
            )
        except (KeyError, TypeError, ValueError):  # none, or not as we write it
            return f"{line}; its score on other clips is not known"

    def _cut(self, y: np.ndarray, judge: Callable) -> Iterator[tuple[int, int, str, np.ndarray]]:
        """First and last sample of each window, why it gets no answer, and the model's input.

        A clip of up to twice ``clip_s`` is one window, fitted to ``clip_s`` as in training; a
        longer recording is cut into windows that overlap by half.
        """
        width = self.settings.n_samples
        if self.card["input"] != "waveform":
            yield 0, len(y), judge(y), self._compute_row(y)
            return
        starts = [0] if len(y) <= 2 * width else range(0, len(y) - width // 2, width // 2)
        for start in starts:
            window = y if len(starts) == 1 else y[start : start + width]
            yield start, start + len(window), judge(window), fit_clip(window, width)

    def _compute_row(self, y: np.ndarray) -> np.ndarray:
        row: Any = compute_features(y, family=self.card["input"], settings=self.settings)
        n_columns = self.model.input_shape[-1]
        if len(row) != n_columns:
            raise UserError(
                f"{self.path}: takes {n_columns} columns, and {self.card['input']} has "
                f"{len(row)} in this version: train it again"
            )
        return np.asarray(list(row.values()), dtype="float32")

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

    def warm_up(self) -> None:
        """Answer something, so that the first recording is answered as fast as the others."""
        noise = np.random.default_rng(0).normal(0, 0.1, SAMPLE_RATE).astype("float32")
        self.predict_audio(noise)
        self.predict_waves([noise])

    def predict_audio(
        self, y: np.ndarray, sr: int = SAMPLE_RATE, *, name: str = ""
    ) -> pd.DataFrame:
        """The first table of :meth:`follow_audio`, which has the parameters: one row."""
        return self.follow_audio(y, sr, name=name)[0]

    def follow_audio(
        self, y: np.ndarray, sr: int = SAMPLE_RATE, *, name: str = ""
    ) -> tuple[pd.DataFrame, pd.DataFrame]:
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
        files : pd.DataFrame
            One row: ``file start_s end_s emotion confidence sure``, one column per emotion with
            its probability, ``reason error``. Where it is not ``sure``, the emotion is only the
            likeliest of several. Where nobody can be heard to speak, the emotion is empty and the
            ``reason`` is one of :data:`helpers.features.voice.REASONS`. The figures are the mean
            of those of its windows in which somebody speaks.
        windows : pd.DataFrame
            The same columns but for ``error``, one row per window: ``clip_s`` seconds, each half
            over the last. A recording of up to twice ``clip_s`` is a single one.
        """
        return self._answer([(name, check_waveform(y, sr=sr, name=name or "the sound"))])

    def predict_files(self, paths, **options) -> pd.DataFrame:
        """The first table of :meth:`follow_files`, which has the parameters."""
        return self.follow_files(paths, **options)[0]

    def follow_files(
        self,
        paths,
        *,
        channel: int | None = None,
        longest_s: float = LONGEST_S,
        any_sound: bool = False,
    ) -> tuple[pd.DataFrame, pd.DataFrame]:
        """Estimate the emotion in recordings, and how it changes; each is decoded once.

        Parameters
        ----------
        paths : path, binary file object, or iterable of these
        channel : int, optional
            This channel alone, from 0; all are averaged if not given.
        longest_s : float
            A longer recording is a row with an error.
        any_sound : bool
            Name an emotion whatever is heard, as scores need it.

        Returns
        -------
        files, windows : pd.DataFrame
            As for :meth:`follow_audio`; a broken file is a row of the first with its ``error``.
        """
        if isinstance(paths, str | os.PathLike) or hasattr(paths, "read"):
            paths = [paths]
        load = partial(load_audio, channel=channel, longest_s=longest_s)
        named = [(name_source(path), path) for path in paths]
        return self._answer(named, load=load, any_sound=any_sound)

    def follow_far(self, paths: Sequence[Path], **options) -> tuple[pd.DataFrame, pd.DataFrame]:
        """As :meth:`follow_files`; by the workers of a cluster, where there is one."""
        if not os.environ.get(SCHEDULER):
            return self.follow_files(paths, **options)
        parts = [paths[start : start + _PART] for start in range(0, len(paths), _PART)]
        follow = partial(_follow_part, self.path.resolve(), options)
        files, windows = zip(*map_clips(follow, parts, label="Answering"), strict=True)
        return pd.concat(files, ignore_index=True), pd.concat(windows, ignore_index=True)

    def predict_waves(self, waves: Sequence[np.ndarray]) -> pd.DataFrame:
        """Name an emotion for each waveform of ``load_audio``, whatever it holds; for scores."""
        return self._answer([("", y) for y in waves], any_sound=True)[0]

    def _answer(
        self, recordings: Sequence[tuple[str, object]], *, load=None, any_sound: bool = False
    ) -> tuple[pd.DataFrame, pd.DataFrame]:
        """Rows of the recordings, and of their windows; each is decoded and answered once."""
        from tqdm import tqdm

        judge = _judge_level if any_sound else judge_speech
        windows, waiting, asked, scores, ends, errors = [], [], [], [], [], []
        bar = tqdm(recordings, disable=None, leave=False, unit="file")  # on a terminal only
        for place, (name, sound) in enumerate(bar):
            ends.append(np.nan)
            errors.append("")
            try:
                y = np.asarray(load(sound) if load else sound, dtype="float32")
            except AudioError as error:
                errors[-1] = str(error)
                continue
            ends[-1] = len(y) / SAMPLE_RATE
            for start, end, reason, inputs in self._cut(y, judge):
                windows.append((place, name, start / SAMPLE_RATE, end / SAMPLE_RATE, reason))
                if reason and not any_sound:
                    continue
                asked.append(len(windows) - 1)
                waiting.append(inputs)
                # By windows, not by files: memory stays flat for many files and for long ones.
                if len(waiting) == _CHUNK:
                    scores.append(self.probabilities(np.stack(waiting)))
                    waiting = []
        if waiting:
            scores.append(self.probabilities(np.stack(waiting)))
        answers = np.full((len(windows), len(self.classes)), np.nan)
        if asked:
            answers[asked] = np.concatenate(scores)
        over_time = pd.DataFrame(windows, columns=["place", "file", "start_s", "end_s", "reason"])
        over_time[self.classes] = answers
        names = [name for name, _ in recordings]
        files = pd.DataFrame({"file": names, "start_s": 0.0, "end_s": ends, "error": errors})
        files[["reason", *self.classes]] = self._average(over_time).reindex(files.index)
        files["reason"] = "" if any_sound else files["reason"].fillna("")
        return self._name(files), self._name(over_time)

    def _average(self, windows: pd.DataFrame) -> pd.DataFrame:
        """Reason and mean of each recording; where somebody speaks, other windows do not vote."""
        by_file = windows.groupby("place")["reason"]
        votes = (windows["reason"] == "") | (by_file.transform("min") != "")
        means = windows[votes].groupby("place")[self.classes].mean()
        return pd.concat([by_file.min(), means], axis=1)

    def _name(self, table: pd.DataFrame) -> pd.DataFrame:
        """The table with the likeliest emotion, and its columns in order."""
        answers = table[self.classes]
        heard = answers.dropna()
        named = table.assign(
            emotion=heard.idxmax(axis=1).reindex(table.index, fill_value=""),
            confidence=answers.max(axis=1),
            sure=answers.max(axis=1) >= self.threshold,
        )
        facts = ["file", "start_s", "end_s", "emotion", "confidence", "sure"]
        last = [name for name in ("reason", "error") if name in table]
        return named[[*facts, *self.classes, *last]]


def _judge_level(y: np.ndarray) -> str:
    return "" if np.abs(y).max() > _HEARD else "too quiet"


_open = lru_cache(Predictor)  # a worker of a cluster answers one part after the other


def _follow_part(model: Path, options: dict, paths: list[Path]):
    return _open(model).follow_files(paths, **options)


def to_records(table: pd.DataFrame) -> list[dict]:
    """Rows as JSON takes them; None where there is no number."""
    return table.astype(object).where(table.notna(), None).to_dict("records")


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


def predict_side(predictor: Predictor, clips: pd.DataFrame, protocol: str, side: str):
    """Predictions for the clips of one set of a split, beside their true emotions.

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
    found = predictor.predict_files(chosen["path"], any_sound=True).rename(
        columns={"emotion": "predicted"}
    )
    answers = found[["predicted", "confidence", "sure", *predictor.classes]]
    return pd.concat([chosen.reindex(columns=FACTS), answers], axis=1)
