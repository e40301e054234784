"""Permuted labels leave no gap: the fairness tests hold their level."""

import numpy as np
import pandas as pd

from cmr_models.fairness import max_gap, permutation_gaps


def test_permuted_labels_are_called_a_gap_as_often_as_the_level_says() -> None:
    rng = np.random.default_rng(7)
    values = np.column_stack([rng.normal(size=(300, 150)), rng.exponential(size=(300, 150))])
    group = rng.permutation(np.repeat(["a", "b", "c"], [30, 70, 200]))
    p = 10.0 ** -np.array([gap.minus_log10_p for gap in permutation_gaps(values, group, rng)])
    assert 0.02 <= (p <= 0.05).mean() <= 0.09
    assert abs(np.median(p) - 0.5) < 0.1


def test_the_homogeneity_test_holds_its_level() -> None:
    rng = np.random.default_rng(8)
    errors = np.array([0.1, 0.5, 0.2, 1.0])
    gaps = [max_gap(list("abcd"), rng.normal(size=4) * errors, errors, rng) for _ in range(600)]
    p = 10.0 ** -np.array([gap.minus_log10_p for gap in gaps])
    above = np.mean([gap.value > gap.null_q95 for gap in gaps])
    assert 0.03 <= (p <= 0.05).mean() <= 0.075
    assert 0.03 <= above <= 0.075


def test_the_order_of_people_does_not_change_a_gap() -> None:
    rng = np.random.default_rng(9)
    table = pd.DataFrame({"value": rng.normal(size=90), "group": np.repeat(["a", "b", "c"], 30)})
    shuffled = table.sample(frac=1, random_state=1)
    first = permutation_gaps(table["value"], table["group"], np.random.default_rng(0))[0]
    second = permutation_gaps(shuffled["value"], shuffled["group"], np.random.default_rng(0))[0]
    assert np.isclose(first.value, second.value)
    assert (first.high, first.low) == (second.high, second.low)
