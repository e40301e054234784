"""The dictionary of UK Biobank's fields, spelt out anew from its showcase, and what is found fault with in a table."""

from typing import Any

import numpy as np
import pandas as pd
import pytest

from cmr_models.analysis.biobank import FIELDS, Field, FieldTable, check_fields, field_of
from cmr_models.analysis.biobank.fields import decode, read_numbers

# UK Biobank showcase, data codings 9, 90, 1001, 10, 8: word -> its codes.
_CODINGS: dict[int, dict[str | None, set[int]]] = {
    31: {"female": {0}, "male": {1}},
    20116: {"never": {0}, "previous": {1}, "current": {2}, None: {-3}},
    21000: {
        "white": {1, 1001, 1002, 1003}, "mixed": {2, 2001, 2002, 2003, 2004}, "asian": {3, 3001, 3002, 3003, 3004},
        "black": {4, 4001, 4002, 4003}, "chinese": {5}, "other": {6}, "unknown": {-1, -3},
    },
    54: {
        "Barts": {11012}, "Birmingham": {11021}, "Bristol": {11011, 11028}, "Bury": {11008}, "Cardiff": {11003},
        "Cheadle": {11025}, "Cheadle (revisit)": {11024}, "Croydon": {11020}, "Edinburgh": {11005},
        "Glasgow": {11004}, "Hounslow": {11018}, "Leeds": {11010}, "Liverpool": {11016}, "Manchester": {11001},
        "Middlesbrough": {11017}, "Newcastle": {11009, 11027}, "Nottingham": {11013}, "Oxford": {11002},
        "Reading": {11007, 11026}, "Sheffield": {11014}, "Stockport (pilot)": {10003}, "Stoke": {11006},
        "Swansea": {11022}, "Wrexham": {11023},
    },
    52: {
        "January": {1}, "February": {2}, "March": {3}, "April": {4}, "May": {5}, "June": {6}, "July": {7},
        "August": {8}, "September": {9}, "October": {10}, "November": {11}, "December": {12},
    },
}  # fmt: skip

_KINDS = {
    "date": {53, 191, 40000, 40005, 41280},
    "icd10": {40001, 40002, 40006, 41270},
    "categorical": {31, 52, 54, 20116, 21000},
    "integer": {34, 102, 4079, 4080, 21003},
    "continuous": {50, 189, 12143, 12144, 21001, 21002, 22189},
}


@pytest.mark.parametrize("number", _CODINGS)
def test_every_code_has_the_word_of_its_coding(number: int) -> None:
    found: dict[str | None, set[int]] = {}
    for code, word in FIELDS[number].codes.items():
        found.setdefault(word, set()).add(code)
    assert found == _CODINGS[number]


def test_every_field_is_of_its_kind_and_the_others_have_no_codes() -> None:
    assert {kind: {k for k, known in FIELDS.items() if known.kind == kind} for kind in _KINDS} == _KINDS
    assert set().union(*_KINDS.values()) == set(FIELDS)
    assert {number for number, known in FIELDS.items() if known.codes} == set(_CODINGS)


def test_every_number_has_its_unit() -> None:
    units = {number: known.unit for number, known in FIELDS.items() if known.unit}
    assert units == {
        34: "years", 50: "cm", 102: "1/min", 4079: "mmHg", 4080: "mmHg", 12143: "kg", 12144: "cm", 21001: "kg/m2",
        21002: "kg", 21003: "years",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("number", "kind", "name"),
    [
        (129999, None, ""), (130000, "date", "date of first occurrence"), (130001, "integer", "source of first"),
        (131354, "date", "date of first occurrence"), (132604, "date", "date of first occurrence"),
        (132605, "integer", "source of first"), (132606, None, ""), (41999, None, ""),
        (42000, "date", "date of algorithmically"), (42001, "integer", "source of algorithmically"),
        (42051, "integer", "source of algorithmically"), (42052, None, ""), (24099, None, ""),
        (24100, "continuous", "CMR"), (24181, "continuous", "CMR"), (24182, None, ""), (31, "categorical", "sex"),
    ],
)  # fmt: skip
def test_fields_in_a_range_are_known_at_both_its_ends(number: int, kind: str | None, name: str) -> None:
    known = field_of(number)
    assert (None if known is None else known.kind) == kind
    assert known is None or known.name.startswith(name)


def test_what_the_user_says_of_a_field_comes_before_the_dictionary() -> None:
    own = {31: Field("own", "text"), 42000: Field("mine", "integer"), 7: Field("new", "date")}
    assert [getattr(field_of(number, own), "name", None) for number in (31, 42000, 7, 8)] == [
        "own",
        "mine",
        "new",
        None,
    ]


# what is found fault with


def _found(cells: list[Any], known: Field) -> list[tuple[str, int, str]]:
    data = FieldTable.of(pd.DataFrame({"eid": range(1, len(cells) + 1), "77-2.0": cells}))
    findings = check_fields(data, [(77, 2)], {77: known})
    assert set(findings["column"]) <= {"77-2.0"}
    return [(row["problem"], row["n"], row["detail"]) for row in findings.to_dict("records")]


_SPECIAL = {-1, -2, -3, -4, -5, -7, -10, -13, -27, -121, -131, -313, -717, -818}


@pytest.mark.parametrize("code", sorted(_SPECIAL | {c + d for c in _SPECIAL for d in (1, -1) if c + d < 0}))
def test_a_negative_number_of_a_continuous_field_is_asked_about_if_it_is_a_code_somewhere(code: int) -> None:
    explain = "list what they mean under `fields`, `codes`"
    right = [("unknown_code", 2, f"{code}: {explain}")] if code in _SPECIAL else []
    assert _found([2.5, code, 0.0, code, None], Field("x", "continuous")) == right
    assert _found([2.5, code, -1.75], Field("x", "continuous")) == []  # negative numbers are usual there
    assert _found([2.5, code], Field("x", "continuous", {-44: None})) == []  # its codes are known
    of_integers = [("unknown_code", 1, f"{code}: {explain}")] if code not in (-1, -3) else []
    assert _found([2, code, -1, -3, 0], Field("x", "integer")) == of_integers
    assert _found([2, code, -1], Field("x", "integer", {code: "0"})) == []
    assert _found([2, code, -1, -3, 0], Field("x", "categorical")) == of_integers


@pytest.mark.parametrize(
    ("cells", "known", "right"),
    [
        # at most five different codes are shown, those of up to four digits alone
        (
            [12, 7, 7, 9, 8, 14, 13, 1, 12345, "secret", None, -3],
            Field("x", "categorical", {1: "one"}),
            [("unknown_code", 9, "12, 13, 14, 7, 8: not in the coding")],
        ),
        (
            ["One", "ONE", "two", " three", "Do not know"],
            Field("x", "categorical", {1: "one"}),
            [("unknown_code", 2, "not in the coding")],
        ),
        (
            [1.0, 2.0, 5.0],
            Field("x", "categorical", {1: "one", 2: "two"}),
            [("unknown_code", 1, "5.0: not in the coding")],
        ),
        (["I21", "I21.9", "I219 Acute", "I21X", "C509", None], Field("x", "icd10"), []),
        (
            ["I2", "i21", "2I1", "I2199 b", "I21990", "XI21"],
            Field("x", "icd10"),
            [("unknown_code", 5, "no ICD-10 code")],
        ),
        (["410", "I21"], Field("x", "icd10"), [("unknown_code", 1, "410: no ICD-10 code")]),
        (["1", "x", "inf", "", "2.5"], Field("x", "continuous"), [("wrong_type", 3, "continuous expected")]),
        (
            ["2016-06-15", "15.6.2016", "2016"],
            Field("x", "date"),
            [("wrong_type", 3, "2 values are not dates as YYYY-MM-DD")],
        ),
        (["2016-06-15", None], Field("x", "date"), []),
        (["any", 7, -9], Field("x", "text"), []),
    ],
)
def test_a_column_is_found_fault_with_by_count_and_no_cell_of_a_person_is_shown(
    cells: list[Any], known: Field, right: list[tuple[str, int, str]]
) -> None:
    assert _found(cells, known) == right


def test_findings_stand_in_the_order_of_fields_and_name_each_column() -> None:
    table = pd.DataFrame({"eid": [1, 2], "4080-2.1": [120, "high"], "4080-2.0": ["low", 120], "31-0.0": [0, 1]})
    wanted = [(4080, 2), (99, 0), (31, 0), (31, 2), (4080, 2)]
    found = check_fields(FieldTable.of(table), wanted)
    assert found.drop(columns="detail").to_numpy().tolist() == [
        [31, 2, "", "absent", 0],
        [99, 0, "", "unknown_field", 0],
        [4080, 2, "4080-2.0", "wrong_type", 1],
        [4080, 2, "4080-2.1", "wrong_type", 1],
    ]
    assert found["detail"].tolist()[:2] == ["sex; export it", "describe it under `fields` in the spec"]
    assert list(check_fields(FieldTable.of(table), [])) == ["field", "instance", "column", "problem", "n", "detail"]


# what cells mean


def test_codes_and_words_become_our_words_and_anything_else_is_missing() -> None:
    cells = pd.Series(
        [2, 0, -3, None, " Previous ", "2", "never", "Prefer not to answer"], index=[9, 4, 7, 1, 3, 2, 8, 0]
    )
    found = decode(cells, FIELDS[20116])
    assert found.tolist() == ["current", "never", None, None, "previous", "current", "never", None]
    assert found.index.tolist() == cells.index.tolist()
    ethnicity = pd.Series([-1, 3004, 6, "Unknown", -3, 2004.0])
    assert decode(ethnicity, FIELDS[21000]).tolist() == ["unknown", "asian", "other", "unknown", "unknown", "mixed"]
    plain = pd.Series([3.0, 0.5, -1, -3, -2, "b", " DO NOT KNOW ", None], index=[5, 1, 2, 3, 4, 0, 6, 7], dtype=object)
    found = decode(plain, Field("x", "categorical"))
    assert found.tolist() == ["3", "0.5", None, None, "-2", "b", None, None]
    assert found.index.tolist() == plain.index.tolist()


def test_a_code_among_numbers_is_what_it_stands_for_and_no_code_of_its_own() -> None:
    column = pd.Series([-10, 1, -1, -3, 5, None, "Do not know", "7"], dtype=object)
    known = Field("x", "integer", {-10: "1", 1: "5", -1: "0.25"})
    np.testing.assert_array_equal(read_numbers(column, known), [1, 5, 0.25, np.nan, 5, np.nan, np.nan, 7])
    np.testing.assert_array_equal(
        read_numbers(column, Field("x", "continuous")), [-10, 1, -1, -3, 5, np.nan, np.nan, 7]
    )
