"""Do a few last epochs on clean clips bring back what hardening costs, and what do they take?

    python benchmarks/settling.py --folds 1,2,3 & python benchmarks/settling.py --folds 4,5,6

On the validation speakers of the RAVDESS folds; test sides are not looked at. Each fold has one
network of the shipped shape and training but for fewer epochs, without the fold's validation and
test speakers. It is asked as it is, and after a few further epochs at a low rate in which most or
all clips are clean, each time from the same weights. What was said is kept under
``outputs/settling``; ``settling.csv`` is the table.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import pandas as pd
import pretrain
from hardening import harden_frames
from validation import ask_folds, learn, name_clips, prepare

from helpers.evaluation.comparison import compare_predictions
from helpers.models.builders import build_cnn
from helpers.models.training import TrainingSettings, prepare_keras
from helpers.runs import Run
from helpers.sound.augment import augment_frames
from helpers.sound.disturbances import AS_RECORDED

BASE = "as trained"
MOSTLY_CLEAN = partial(harden_frames, clean_share=0.8)


def brief(epochs: int, rate: float) -> TrainingSettings:
    """So many epochs at this highest rate; the last one is kept."""
    return replace(
        pretrain.SETTINGS, epochs=epochs, wait=epochs, patience=epochs, learning_rate=rate
    )


#: How a network is trained, and how it may settle.
TRAINED = (brief(24, pretrain.SETTINGS.learning_rate), harden_frames)
SETTLED: dict[str, tuple[TrainingSettings, Callable]] = {
    "4 epochs, all clips clean": (brief(4, 3e-4), augment_frames),
    "4 epochs, 80 % clean": (brief(4, 3e-4), MOSTLY_CLEAN),
    "8 epochs, 80 % clean, twice the rate": (brief(8, 6e-4), MOSTLY_CLEAN),
}
TABLE = Path(__file__).with_name("settling.csv")


def main() -> None:
    ask_folds("settling", ask, tabulate, TABLE, __doc__)


def ask(clips: pd.DataFrame, fold: int, run: Run) -> pd.DataFrame:
    """What the network says of each validation clip, one row per clip and condition."""
    x, split, heard = prepare(clips, fold, run)
    parts = {name: name_clips(clips, split, fold=fold, condition=name) for name in heard}
    prepare_keras(fold)
    model = build_cnn(x.shape[1:], len(pretrain.CLASSES), **pretrain.SHAPE)
    trained = None
    for name, (settings, augment) in {BASE: TRAINED, **SETTLED}.items():
        if trained is not None:
            model.set_weights(trained)
        learn(model, x, clips, split, replace(settings, seed=fold), augment)
        trained = trained or model.get_weights()
        for condition, pictures in heard.items():
            said = model.predict(pictures.astype("float32"), batch_size=256, verbose=0)
            parts[condition][pretrain.name_columns(name)] = said.round(4)
    return pd.concat(parts.values(), ignore_index=True)


def tabulate(answers: pd.DataFrame, names=(BASE, *SETTLED)) -> pd.DataFrame:
    """UAR on all validation speakers as recorded and disturbed, against the first network."""
    rows = []
    for name in names:
        row = {"network": name, "folds": answers["fold"].nunique()}
        clean = None
        for condition, part in answers.groupby("condition", sort=False):
            before, after = (
                pretrain.mix(part.assign(sha256=part["path"]), [(one,)]) for one in (BASE, name)
            )
            found = compare_predictions(before, after, pretrain.CLASSES)
            clean = found["uar"][1] if condition == AS_RECORDED else clean
            if condition == AS_RECORDED:
                row |= {"uar": clean, "gain": found["difference"]}
                row |= dict(zip(("low", "high"), found["interval"], strict=True))
            else:
                row[f"lost: {condition}"] = clean - found["uar"][1]
        rows.append(row)
    return pd.DataFrame(rows)


if __name__ == "__main__":
    main()
