"""One file per model: ``model.keras`` with its card inside.

The card (``card.json``, a member of the same zip that Keras ignores) says what the numbers mean:
label order, sample rate, feature settings, temperature, training data, splits, scores, versions.
Labels cannot be lost, and features at prediction cannot differ from those of training.
"""

from __future__ import annotations

import json
import zipfile
import zlib
from dataclasses import asdict
from pathlib import Path

import numpy as np

from helpers.errors import UserError
from helpers.features.extract import FAMILIES, FRAME_FAMILIES, FeatureSettings
from helpers.runs import atomic_write, dump_json, package_versions
from helpers.sound.audio import SAMPLE_RATE

CARD_NAME = "card.json"
CARD_FORMAT = 1
_REQUIRED = ("format", "name", "input", "classes", "sample_rate", "features", "temperature")


def make_card(
    *,
    name: str,
    classes: list[str],
    settings: FeatureSettings,
    input: str = "waveform",
    temperature: float = 1.0,
    **facts: object,
) -> dict:
    """Put a card together.

    Parameters
    ----------
    name : str
        Architecture, such as ``"cnn"``.
    classes : list of str
        Emotions in the order of the model's outputs.
    settings : FeatureSettings
    input : str
        ``"waveform"``, or the feature family that the model takes.
    temperature : float
        Divides the log-probabilities at prediction; 1 changes nothing.
    **facts
        Corpora, splits, validation scores, licence: whatever a reader should know.

    Returns
    -------
    dict
    """
    return {
        "format": CARD_FORMAT,
        "name": name,
        "input": input,
        "classes": list(classes),
        "sample_rate": SAMPLE_RATE,
        "features": asdict(settings),
        "temperature": temperature,
        "versions": package_versions(),
        **facts,
    }


def save_model(model, path: str | Path, card: dict) -> Path:
    """Write ``model`` and its card as one ``.keras`` file, atomically."""
    path = Path(path)
    with atomic_write(path) as temporary:
        model.save(temporary)
        _append_card(temporary, card)
    return path


def update_card(source: Path, target: Path, **facts: object) -> Path:
    """Copy a model file to ``target`` with some members of its card replaced."""
    card = read_card(source) | facts
    with atomic_write(target) as temporary:
        with zipfile.ZipFile(source) as old, zipfile.ZipFile(temporary, "w") as new:
            for member in old.infolist():
                if member.filename != CARD_NAME:
                    new.writestr(member, old.read(member))
        _append_card(temporary, card)
    return target


def read_card(path: str | Path) -> dict:
    """Read the card without loading the model.

    Raises
    ------
    UserError
        The file is missing, is no ``.keras`` file, or holds no readable card.
    """
    path = Path(path)
    if not path.is_file():
        found = "a folder" if path.is_dir() else "no such file"
        raise UserError(
            f"{path}: found {found}, expected a model.keras. Train one with `ser run`, "
            "or name another with --model."
        )
    try:
        with zipfile.ZipFile(path) as archive:
            text = archive.read(CARD_NAME) if CARD_NAME in archive.namelist() else b""
    except (OSError, zipfile.BadZipFile, zlib.error) as error:
        raise UserError(
            f"{path}: not a complete .keras file ({error}). If it was copied or downloaded, do so "
            "again; otherwise train one with `ser run`."
        ) from error
    try:
        card = json.loads(text)
    except ValueError:
        card = None
    if not isinstance(card, dict):
        raise UserError(
            f"{path}: found no readable {CARD_NAME} in it, expected a model saved by this project. "
            "Without the card the order of the emotions is unknown."
        )
    return card


def load_model(path: str | Path):
    """Load a model and its card, and refuse a pair that does not match.

    Returns
    -------
    tuple of (keras.Model, dict)

    Raises
    ------
    UserError
        See :func:`read_card`; also when card and model disagree.
    """
    import keras

    card = read_card(path)
    try:
        model = keras.saving.load_model(path, compile=False, safe_mode=True)
    except Exception as error:  # whatever Keras says of damaged weights, foreign or unsafe layers
        reason = (str(error).strip() or repr(error)).splitlines()[0]
        raise UserError(f"{path}: Keras cannot load it ({reason})") from error
    wrong = _find_mismatches(card, model)
    if wrong:
        raise UserError(f"{path}: the card does not match the model: {'; '.join(wrong)}")
    return model, card


def apply_temperature(probabilities: np.ndarray, temperature: float) -> np.ndarray:
    """Soften (> 1) or sharpen (< 1) probabilities; the order of the emotions stays.

    Examples
    --------
    >>> apply_temperature(np.array([[0.8, 0.2]]), 2.0).round(3)
    array([[0.667, 0.333]])
    """
    logits = np.log(np.maximum(np.asarray(probabilities, dtype="float64"), 1e-12)) / temperature
    scaled = np.exp(logits - logits.max(axis=1, keepdims=True))
    return scaled / scaled.sum(axis=1, keepdims=True)


def card_settings(card: dict) -> FeatureSettings:
    """Feature settings of a card."""
    return FeatureSettings(**card["features"])


def _append_card(path: Path, card: dict) -> None:
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(CARD_NAME, dump_json(card))


def _find_mismatches(card: dict, model) -> list[str]:
    """What speaks against using ``model`` as ``card`` says, in words."""
    missing = [f"{key} is missing" for key in _REQUIRED if key not in card]
    if missing:
        return missing
    if card["format"] != CARD_FORMAT:
        return [f"format is {card['format']}, this version reads {CARD_FORMAT}"]
    wrong = []
    classes, n_outputs = card["classes"], model.output_shape[-1]
    if not isinstance(classes, list) or len(set(map(str, classes))) != n_outputs:
        wrong.append(f"classes is {classes!r}, expected a list of {n_outputs} names")
    if card["sample_rate"] != SAMPLE_RATE:
        wrong.append(f"sample rate is {card['sample_rate']} Hz, expected {SAMPLE_RATE}")
    takes_waveform = model.input_shape[-1] is None
    inputs = ["waveform"] if takes_waveform else sorted(set(FAMILIES) - set(FRAME_FAMILIES))
    if card["input"] not in inputs:
        wrong.append(f"input is {card['input']!r}, and the model takes {model.input_shape}")
    if not _is_between(0.01, card["temperature"], 100):
        wrong.append(f"temperature is {card['temperature']!r}")
    if not _is_between(0, card.get("threshold", 0.5), 1):
        wrong.append(f"threshold is {card['threshold']!r}, expected a confidence from 0 to 1")
    try:
        card_settings(card)
    except TypeError as error:
        wrong.append(f"its feature settings are of another version ({error})")
    return wrong


def _is_between(low: float, value: object, high: float) -> bool:
    return isinstance(value, int | float) and low <= value <= high
