"""Cells that are neither surely numbers nor surely categories."""

import numpy as np
import pandas as pd
import pytest

from cmr_models.contracts.cells import check_covariates, check_groups, is_decimal, is_number, is_text

_PRESSURES = [110.0, 121.0, 118.0, 135.0, 142.0, 150.0, 127.0, 133.0, 160.0, 115.0, 119.0, np.nan]


@pytest.mark.parametrize(
    ("cells", "n_codes"),
    [
        ([*_PRESSURES, -3], 1),
        ([0, *_PRESSURES, -3], 1),
        ([*_PRESSURES, *_PRESSURES, -1, -3], 2),  # 2 of 24 that are there
        ([*_PRESSURES, -9.0], 1),
        ([*_PRESSURES, 999, 999], 2),
        ([*_PRESSURES, 9999], 1),
        ([0, 1, 1, 0, 9], 1),
        ([1, 2, 2, 1, 9], 1),
    ],
)
def test_numbers_that_stand_for_a_missing_value_are_an_error_unless_the_column_is_declared(
    cells: list[float], n_codes: int
) -> None:
    table = pd.DataFrame({"x": cells})
    with pytest.raises(ValueError, match=f"people: {n_codes} of {len(cells)} cells of x look like codes"):
        check_covariates(table, ["x"], {}, "people")
    check_covariates(table, ["x"], {"x": "number"}, "people")


@pytest.mark.parametrize(
    "cells",
    [
        _PRESSURES,
        [*_PRESSURES, 199],  # not all nines
        [*_PRESSURES, -3.5],  # no code
        [-6.1, -3, 0.4, 2.0, 5.0, 1.1, 0.3, 0.2, 0.7, 3.0, 1.0],  # a deprivation index
        [-2, -1, 0, 1, 2] * 4,  # a score
        [-1, 1, 1, -1],  # a contrast
        [66, 71, 80, 99],  # an age
        [0, 1, 3, 2, 9],  # a count
        [9, 9, 9],
        [],
        [True, False],
    ],
)
def test_other_numbers_are_numbers(cells: list[float]) -> None:
    check_covariates(pd.DataFrame({"x": cells}), ["x"], {}, "people")


@pytest.mark.parametrize(
    "days",
    [["2020-01-31", "2020-2-1"], ["31.01.2020", "1.2.20"], ["1/31/2020", "02/01/2020"], ["2020-01-31 10:00", None]],
)
def test_dates_are_no_covariate_unless_they_are_declared_as_text(days: list[str | None]) -> None:
    table = pd.DataFrame({"seen": days})
    with pytest.raises(ValueError, match="people: the cells of seen are dates") as caught:
        check_covariates(table, ["seen"], {}, "people")
    assert "2020" not in str(caught.value)
    check_covariates(table, ["seen"], {"seen": "text"}, "people")
    with pytest.raises(ValueError, match="the cells of seen are dates"):
        check_covariates(pd.DataFrame({"seen": pd.to_datetime(["2020-01-31", "2020-02-01"])}), ["seen"], {}, "people")
    check_covariates(pd.DataFrame({"sites": ["10-2-333", "1.2.2020.4x", "a"]}), ["sites"], {}, "people")


def test_infinite_numbers_are_counted_and_refused() -> None:
    with pytest.raises(ValueError, match="people: 2 of 4 cells of sbp are infinite"):
        check_covariates(pd.DataFrame({"sbp": [1.0, np.inf, -np.inf, np.nan]}), ["sbp"], {}, "people")


# words


@pytest.mark.parametrize(
    ("word", "decimal", "number"),
    [
        ("1", True, True),
        ("-1.5", True, True),
        ("+.5", True, True),
        ("4.", True, True),
        ("2e-3", True, True),
        ("0", True, True),
        ("0.7", True, True),
        ("-0.7", True, True),
        ("007", True, False),
        ("-01", True, False),
        ("00.5", True, False),
        ("1e400", False, False),
        ("nan", False, False),
        ("inf", False, False),
        ("", False, False),
        (".", False, False),
        ("1 ", False, False),
        ("1_0", False, False),
        ("1,5", False, False),
        ("e5", False, False),
    ],
)
def test_a_word_is_a_number_if_a_computer_can_hold_it_and_it_is_no_code(word: str, decimal: bool, number: bool) -> None:
    assert (is_decimal(word), is_number(word)) == (decimal, number)


def test_text_is_what_holds_words_or_objects() -> None:
    words = pd.Series(["a", "b"])
    assert [is_text(column) for column in (words, words.astype("category"), words.astype("string"))] == [True] * 3
    assert [is_text(pd.Series(cells)) for cells in ([1, 2], [1.5, np.nan], [True, False])] == [False] * 3


_CODES = [-1, -2, -3, -4, -5, -7, -8, -9, -10, -13, -27, -88, -99, -121, -131, -313, -717, -818, -999, -9999]


@pytest.mark.parametrize("code", sorted({c + d for c in _CODES for d in (-1, 0, 1) if c + d < 0}))
def test_a_rare_negative_number_is_asked_about_if_it_stands_for_a_missing_value_somewhere(code: int) -> None:
    nine = [110.0, 121, 118, 135, 142, 150, 127, 133, 160]
    table = pd.DataFrame({"rare": [*nine, code], "often": [*nine[:-1], code, code], "mixed": [*nine[:-1], code, -6.5]})
    check_covariates(table, ["often", "mixed"], {}, "people")  # two of ten are no rare ones
    check_covariates(pd.DataFrame({"x": [*nine, *nine, code, -6.5]}), ["x"], {}, "people")  # other numbers are negative
    if code not in _CODES:
        check_covariates(table, ["rare"], {}, "people")
        return
    with pytest.raises(ValueError, match="people: 1 of 10 cells of rare look like codes of a missing value"):
        check_covariates(table, ["rare"], {}, "people")


@pytest.mark.parametrize(
    ("cells", "n_codes"),
    [
        # all nines are a code if they are more than one and a half times as large as any other
        ([60, 66, 99], 0), ([60, 65, 99], 1), ([60, 65, 99, 99, 65], 2), ([600, 666, 999], 0), ([600, 665, 999], 1),
        # a nine where nothing else is above two
        ([0, 1, 2, 9], 1), ([0, 1, 3, 9], 0), ([0, 2.5, 9], 0), ([5, 9], 0), ([1, 19], 0), ([1, 90], 0), ([1, 99.5], 0),
        ([9], 0), ([99, None], 0),
    ],
)  # fmt: skip
def test_all_nines_are_asked_about_where_they_are_out_of_place(cells: list[float], n_codes: int) -> None:
    table = pd.DataFrame({"x": cells})
    if not n_codes:
        check_covariates(table, ["x"], {}, "people")
        return
    with pytest.raises(ValueError, match=f"people: {n_codes} of {len(cells)} cells of x look like"):
        check_covariates(table, ["x"], {}, "people")


@pytest.mark.parametrize(
    ("cells", "message"),
    [
        (["1", "2", "x", None, " 3 "], "1 of 5 cells of x are not numbers, the others are"),
        (["007", "1"], "1 of 2 cells of x are not numbers"),
        (["1,5", "2", "1.234,5"], "2 of 3 cells of x are numbers with a comma"),
        (["1'234,5", "x", "1,2,3"], "2 of 3 cells of x are numbers with a comma"),
        (["a ", "A", "b", None], "2 levels of x differ only in upper and lower case"),
        (["a b", "a  b", "A b", "c"], "3 levels of x differ only in upper and lower case"),
        ([f"t{k}" for k in range(51)], "x is text with 51 different cells, more than the 50 levels"),
    ],
)
def test_text_of_which_the_meaning_is_a_guess_is_refused_and_counted(cells: list[str | None], message: str) -> None:
    table = pd.DataFrame({"x": pd.Series(cells, dtype=object), "fine": 1.5})
    with pytest.raises(ValueError, match=f"people: {message}"):
        check_covariates(table, ["fine", "x"], {}, "people")
    check_covariates(table, ["fine", "x", "absent"], {"x": "text"}, "people")
    check_covariates(table, ["fine"], {}, "people")


@pytest.mark.parametrize(
    "cells", [["1", "2", None], ["a", "b", "a"], [f"t{k}" for k in range(50)], [None, None], ["1.5", "-2e3"]]
)
def test_text_that_is_all_numbers_or_a_few_words_is_taken(cells: list[str | None]) -> None:
    table = pd.DataFrame({"x": pd.Series(cells, dtype=object)})
    check_covariates(table, ["x"], {}, "people")
    check_groups(table, ["x", "absent"], {}, "people")


def test_groups_are_levels_of_words_and_of_numbers() -> None:
    many = pd.DataFrame({"n": np.arange(51.0), "few": np.arange(51) % 50, "word": ["a", "A"] + ["b"] * 49})
    check_groups(many, ["few"], {}, "people")
    with pytest.raises(ValueError, match="people: n is text with 51 different cells"):
        check_groups(many, ["few", "n"], {"n": "number"}, "people")
    with pytest.raises(ValueError, match="people: 2 levels of word differ"):
        check_groups(many, ["word"], {}, "people")
    check_groups(many, ["n", "word"], {"n": "text", "word": "text"}, "people")
