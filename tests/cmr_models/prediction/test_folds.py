"""Who is tested with whom: people whole, their events shared out evenly."""

import numpy as np
import pytest

from cmr_models.prediction.folds import group_folds, person_folds


@pytest.mark.parametrize("seed", range(5))
def test_every_fold_has_its_share_of_people_and_of_those_with_an_event(seed: int) -> None:
    persons = np.array([*"abcdefghijkl", "a", "c"])
    event = np.array([0, 1, 0, 1, 0, 1, 0, 0, 0, 0, 0, 0, 1, 0])  # a has it at the second row; b, d, f as well
    fold = person_folds(persons, event, 4, np.random.default_rng(seed))
    assert fold[[0, 2]].tolist() == fold[[12, 13]].tolist()
    assert np.bincount(fold[:12]).tolist() == [3, 3, 3, 3]
    assert sorted(fold[[0, 1, 3, 5]].tolist()) == [0, 1, 2, 3]


def test_folds_are_drawn_anew_by_another_generator() -> None:
    drawn = {tuple(person_folds(np.arange(9), np.zeros(9), 3, np.random.default_rng(k)).tolist()) for k in range(6)}
    assert len(drawn) == 6


def test_two_to_as_many_folds_as_people_may_be_asked_for() -> None:
    persons, event = ["a", "a", "b", "c"], [0, 0, 1, 0]
    assert sorted(set(person_folds(persons, event, 3, np.random.default_rng(0)))) == [0, 1, 2]
    for count in (1, 4):
        with pytest.raises(ValueError, match=r"2 to the number of persons \(3\)"):
            person_folds(persons, event, count, np.random.default_rng(0))
    with pytest.raises(ValueError, match="no person may be missing"):
        person_folds(["a", None], [0, 1], 2, np.random.default_rng(0))


def test_groups_are_folds_in_the_order_of_their_names() -> None:
    assert group_folds(["c", "a", "b", "a"]).tolist() == [2, 0, 1, 0]
    for groups in (["a", "a"], ["a", None, "b"]):
        with pytest.raises(ValueError, match="two or more, none missing"):
            group_folds(groups)
