"""The public recipes on their own terms, and the same networks on people they never heard.

    python benchmarks/recipes.py

Each network is trained and tested as its recipe has it, on clips divided at random, in one case
after augmentation; then so that every speaker is tested by a model that has not heard them. What is
done is kept under ``outputs/recipes``; ``benchmarks/recipes.csv`` is the table, and a row that it
has is not made again.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from helpers.columns import PROTOCOLS
from helpers.corpora import class_order, load_corpora
from helpers.evaluation.scores import score_predictions
from helpers.experiments.baselines import change_clips
from helpers.experiments.crossval import cross_validate
from helpers.models.recipes import RECIPES
from helpers.runs import Run, outputs_home
from helpers.sound.augment import AUGMENTATIONS
from helpers.sound.inspection import inspect_clips
from helpers.splits import make_split

SEEDS = 3
BY_CHANCE, BY_SPEAKER, AUGMENTED = "random-80-20", PROTOCOLS[0], "augmented before the split"
EVERY = "ravdess, tess, emodb, nemo"
AUGMENTED_FIRST = "ravdess, ravdess-song"
#: Corpora, network, and the accuracy that public projects report for the like of it.
ROWS = (
    ("tess", "mfcc_lstm", "0.979, 0.892"),
    ("tess", "functionals_mlp", "0.979, 0.892"),
    (AUGMENTED_FIRST, "functionals_mlp", "0.855"),
    (EVERY, "vector_cnn", "0.71 (with CREMA-D, SAVEE)"),
    (EVERY, "functionals_mlp", "0.97 (with CREMA-D, SAVEE)"),
)
#: One copy of each clip by each: noise, stretch, pitch, shift, gain.
COPIES = tuple(AUGMENTATIONS)[:5]
TABLE = Path(__file__).with_name("recipes.csv")


def main() -> None:
    rows = pd.read_csv(TABLE).to_dict("records") if TABLE.is_file() else []
    done = {(row["corpora"], row["model"], row["protocol"]) for row in rows}
    for corpora, model, public in ROWS:
        clips, _ = inspect_clips(load_corpora(corpora.split(", ")))
        protocols = [BY_CHANCE, BY_SPEAKER]
        if corpora == AUGMENTED_FIRST:
            protocols.insert(0, AUGMENTED)
        for protocol in protocols:
            if (corpora, model, protocol) in done:
                continue
            if protocol == AUGMENTED:
                answers = augment_first(clips, model)
            else:
                run = Run(outputs_home() / "recipes" / f"{len(clips)} {model} {protocol}")
                answers = cross_validate(clips, model, protocol=protocol, seeds=SEEDS, run=run)
            row = {"corpora": corpora, "model": model, "protocol": protocol, "public": public}
            rows.append(row | score(answers, protocol))
            pd.DataFrame(rows).to_csv(TABLE, index=False, float_format="%.3f")
            print(rows[-1], flush=True)


def augment_first(clips: pd.DataFrame, model: str) -> pd.DataFrame:
    """Answers where a test clip's changed copies may be in training, as in a public recipe."""
    recipe = RECIPES[model]
    rows = ("", *COPIES)
    x = pd.concat([change_clips(clips, name, {}, family=recipe.family) for name in rows])
    every = pd.concat([clips] * len(rows), ignore_index=True)
    x.index = every.index
    # Each copy is a file of its own, as it was there: else the split would keep it with its clip.
    every["path"] = [str(place) for place in range(len(every))]
    every["sha256"] = every["path"]
    parts = []
    for seed in range(SEEDS):
        split = make_split(every, protocol=BY_CHANCE, seed=seed)
        classes = class_order(clips["emotion"])
        said = recipe.fit_predict(x, every, split, classes=classes, seed=seed)
        tested = every.loc[split == "test", ["emotion", "speaker"]].reset_index(drop=True)
        parts.append(pd.concat([tested, said], axis=1).assign(seed=seed))
    return pd.concat(parts, ignore_index=True)


def score(answers: pd.DataFrame, protocol: str) -> dict:
    """Accuracy and UAR, mean and standard deviation over the seeds."""
    classes = class_order(answers["emotion"])
    scores = [
        score_predictions(part, classes, protocol=protocol, n_resamples=100)
        for _, part in answers.groupby("seed")
    ]
    found = {"seeds": len(scores), "n": len(answers) // len(scores)}
    for name in ("accuracy", "uar"):
        values = [row[name] for row in scores]
        found |= {name: np.mean(values), f"{name} ±": np.std(values, ddof=1)}
    return found


if __name__ == "__main__":
    main()
