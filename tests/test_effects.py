"""What separates emotions, by calculations whose answer is known."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from helpers.experiments.baselines import group_importance
from helpers.features.effects import (
    group_columns,
    measure_effects,
)
from helpers.features.extract import feature_names

EMOTIONS = ["angry", "happy", "sad"]


def make_corpus(n_speakers: int, *, each: int = 6, seed: int = 0) -> pd.DataFrame:
    """Each speaker says each emotion ``each`` times; ``x`` is emotion + speaker + noise."""
    rng = np.random.default_rng(seed)
    rows = pd.MultiIndex.from_product([range(n_speakers), EMOTIONS, range(each)]).to_frame(False)
    rows.columns = ["speaker", "emotion", "take"]
    # A voice has a place of its own, and its own way to be angry.
    own = rng.normal(size=(n_speakers, len(EMOTIONS)))
    code = rows["emotion"].map(EMOTIONS.index).to_numpy()
    person = rng.normal(size=n_speakers)[rows["speaker"]]
    rows["x"] = code + person + own[rows["speaker"], code] + rng.normal(size=len(rows))
    return rows


def test_effects_agree_with_a_calculation_by_hand():
    table = pd.DataFrame({"a": [1.0, 3, 5, 7], "b": [1.0, 2, 1, 2], "c": [1.0, 1, 2, 2]})
    table.index = [4, 2, 9, 0]
    groups = pd.Series(["x", "x", "y", "y"], index=table.index)
    uneven = pd.Series(["x", "y", "y", "y"], index=table.index)
    effects = measure_effects(table, {"even": groups, "uneven": uneven})
    # a: mean 4, total 20; even groups 2 and 6 → 16; uneven 1 and 5 → 9 + 3.
    assert effects.loc["a"].to_dict() == pytest.approx({"even": 16 / 20, "uneven": 12 / 20})
    assert effects.loc["b"].to_dict() == pytest.approx({"even": 0, "uneven": 1 / 3})
    assert effects.loc["c", "even"] == pytest.approx(1)


@pytest.mark.parametrize("value", [0.0, 0.1, 10_000.3])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_nothing_explains_a_constant(value, dtype):
    table = pd.DataFrame({"constant": np.full(1001, value, dtype=dtype)})
    groups = pd.Series(np.random.default_rng(0).integers(0, 3, 1001))
    assert measure_effects(table, {"any": groups}).loc["constant", "any"] == 0


def test_every_column_is_in_one_group():
    for family in ("functionals", "prosody", "vector180"):
        names = feature_names(family)
        groups = group_columns(names)
        assert sorted(sum(groups.values(), [])) == sorted(names)
    groups = group_columns(feature_names("functionals"))
    assert {name: len(columns) for name, columns in groups.items()} == {
        **{"zcr": 4, "rms": 4, "centroid": 4, "bandwidth": 4, "rolloff": 4, "contrast": 14},
        **{"flatness": 2, "mfcc": 80, "mfcc_delta": 40, "mfcc_delta2": 40, "chroma": 24},
        **{"tonnetz": 12, "tempo": 1, "beat": 2, "f0": 4, "mel": 15},
    }


def test_importance_finds_the_group_that_tells_and_never_looks_at_the_test_side():
    clips = make_corpus(12)
    code = clips["emotion"].map(EMOTIONS.index)
    rng = np.random.default_rng(0)
    features = pd.DataFrame(
        {
            "tells_a": code + rng.normal(0, 0.2, len(clips)),
            "tells_b": rng.normal(size=len(clips)),
            "idle_a": rng.normal(size=len(clips)),
        }
    )
    split = clips["speaker"].map(lambda who: ["train", "validation", "test"][who % 3])
    groups = {"tells": ["tells_a", "tells_b"], "idle": ["idle_a"]}
    before = features.copy()
    found, uar = group_importance(features, clips["emotion"], split, groups)
    pd.testing.assert_frame_equal(features, before)
    assert found["group"].tolist() == ["tells", "idle"] and found["columns"].tolist() == [2, 1]
    assert uar > 0.6
    assert found.loc[0, "drop"] == pytest.approx(uar - 1 / 3, abs=0.15)
    assert abs(found.loc[1, "drop"]) < 0.1
    features.loc[split == "test"] = np.nan
    again, _ = group_importance(features, clips["emotion"], split, groups)
    pd.testing.assert_frame_equal(found, again)
