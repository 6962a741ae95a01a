"""One file per model: ``model.keras`` with its card inside.

The card (``card.json``, a member of the same zip that Keras ignores) says what the numbers mean:
label order, sample rate, feature settings, temperature, training data, splits, scores, versions.
Labels cannot be lost, and features at prediction cannot differ from those of training.
"""

from __future__ import annotations

import json
import os
import zipfile
import zlib
from dataclasses import asdict
from pathlib import Path

import numpy as np

from helpers.errors import UserError
from helpers.features.extract import FAMILIES, FRAME_FAMILIES, FeatureSettings
from helpers.runs import PROJECT_ROOT, atomic_write, dump_json, package_versions
from helpers.sound.audio import SAMPLE_RATE

#: Learned from people, and comes with a clone; benchmarks/pretrain.py makes it.
SHIPPED = PROJECT_ROOT / "outputs" / "pretrained" / "model.keras"
CARD_NAME = "card.json"
CARD_FORMAT = 1
_LARGEST_RATIO = 20  # of what is in the file to its own size; weights hardly pack
_TABLES = ("licences", "speakers", "clips", "versions", "training", "description", "features")


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
    try:
        with zipfile.ZipFile(path) as archive:
            names, sizes = archive.namelist(), [info.file_size for info in archive.infolist()]
            if len(set(names)) < len(names) or sum(sizes) > _LARGEST_RATIO * os.stat(path).st_size:
                raise ValueError("it holds a part twice, or unpacks to far more than it is")
            card = json.loads(archive.read(CARD_NAME))
        if not isinstance(card, dict):
            raise ValueError(f"{CARD_NAME} holds no object")
        if isinstance(card.get("features"), dict):
            card["features"].pop("deltas", None)  # of earlier versions, and always 0
        return card
    except (OSError, KeyError, ValueError, zipfile.BadZipFile, zlib.error) as error:
        raise UserError(
            f"{path}: expected a model.keras with its {CARD_NAME} ({error}). Train one with "
            "`ser run`, or name another with --model."
        ) from error


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


def _append_card(path: Path, card: dict) -> None:
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(CARD_NAME, dump_json(card))


def _are_names(value: object) -> bool:
    """Whether it is a list of texts without commands to a terminal."""
    names = value if isinstance(value, list) else [None]
    return all(isinstance(name, str) and "\x1b" not in name for name in names)


def _find_mismatches(card: dict, model) -> list[str]:
    """What speaks against using ``model`` as ``card`` says, in words."""
    wrong = [
        f"{key} is {card.get(key)!r}, expected {expected}"
        for key, expected in (("format", CARD_FORMAT), ("sample_rate", SAMPLE_RATE))
        if card.get(key) != expected
    ]
    classes, n_outputs = card.get("classes", []), model.output_shape[-1]
    if not _are_names(classes) or not n_outputs == len(classes) == len(set(classes)):
        wrong.append(f"classes is {classes!r}, expected {n_outputs} names, one per output")
    wrong += [f"{key} is no table" for key in _TABLES if not isinstance(card.get(key, {}), dict)]
    if wrong:
        return wrong
    lists = [[card.get("name"), card.get("protocol", "")], card.get("corpora", [])]
    if not all(map(_are_names, [*lists, *card.get("speakers", {}).values()])):
        wrong.append("its name, protocol, corpora or speakers are no names")
    limits = {"temperature": (card.get("temperature"), 0.01, 100.0)}
    limits["threshold"] = (card.get("threshold", 0.5), 0.0, 1.0)
    for key, (value, low, high) in limits.items():
        if not isinstance(value, int | float) or not low <= value <= high:
            wrong.append(f"{key} is {value!r}, expected a number from {low:g} to {high:g}")
    takes_waveform = model.input_shape[-1] is None
    inputs = ["waveform"] if takes_waveform else sorted(set(FAMILIES) - set(FRAME_FAMILIES))
    if card.get("input") not in inputs:
        wrong.append(f"input is {card.get('input')!r}, and the model takes {model.input_shape}")
    # A setting that an earlier version did not know was as it is by default.
    defaults = asdict(FeatureSettings())
    card["features"] = defaults | card.get("features", {})
    for key, value in card["features"].items():
        usual = defaults.get(key, 0)
        if not isinstance(value, int | type(usual)) or not 0 < value <= 20 * usual:
            wrong.append(f"the feature setting {key} is {value!r}, expected one such as {usual}")
    return wrong
