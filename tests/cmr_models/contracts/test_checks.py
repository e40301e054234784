"""Each rule of the checks at its bound, on rows made for it."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from cmr_models.contracts import (
    ArraySpec,
    AttributeSpec,
    ColumnSpec,
    ContractError,
    FileSpec,
    NewerSchemaError,
    TableSpec,
)
from cmr_models.contracts.checks import (
    check_array,
    check_attributes,
    check_column,
    check_file,
    check_group,
    check_table,
    check_values,
    check_version,
)
from cmr_models.contracts.rows import GroupSpec

_NUMBER = ArraySpec("x", ("i",), "float64", "mm", "", (0.0, 10.0))


@pytest.mark.parametrize(
    ("found", "is_read"),
    [
        (1, True),
        (2, True),
        (3, False),
        (0, False),
        (-1, False),
        (True, False),
        (1.0, False),
        ("1", False),
        (None, False),
    ],
)
def test_a_version_is_a_whole_number_up_to_ours(found: Any, is_read: bool) -> None:
    if is_read:
        check_version(found, 2, "it")
        return
    kind = NewerSchemaError if found == 3 else ContractError
    with pytest.raises(
        ContractError, match="it was written by a newer" if found == 3 else "not a positive number"
    ) as caught:
        check_version(found, 2, "it")
    assert type(caught.value) is kind


@pytest.mark.parametrize(
    ("values", "is_in"),
    [
        ([0.0, 10.0, np.nan], True), ([-1e-9, 5], False), ([5, 10.00001], False), ([np.nan], True), ([], True),
        ([np.inf], False), ([np.nan, 11], False),
    ],
)  # fmt: skip
def test_values_lie_within_both_bounds_nan_apart(values: list[float], is_in: bool) -> None:
    array = np.array(values, float)
    if is_in:
        check_values(array, _NUMBER, "here")
        return
    with pytest.raises(ContractError, match="x of here must lie within 0 and 10 mm, got"):
        check_values(array, _NUMBER, "here")


def test_integers_have_bounds_too_and_an_array_of_more_than_a_hundred_thousand_is_not_looked_through() -> None:
    whole = ArraySpec("n", ("i",), "uint8", "1", "", (0, 2))
    check_values(np.array([0, 2], np.uint8), whole, "here")
    with pytest.raises(ContractError, match="n of here must lie within 0 and 2 1, got 1 to 3"):
        check_values(np.array([1, 3], np.uint8), whole, "here")
    with pytest.raises(ContractError, match="got -1 to -1"):
        check_values(np.full(100_000, -1.0), _NUMBER, "here")
    check_values(np.full(100_001, -1.0), _NUMBER, "here")
    check_values(np.full(3, -1.0), ArraySpec("x", ("i",), "float64", "mm", ""), "here")


@pytest.mark.parametrize(
    ("codes", "dtype", "values", "unknown"),
    [
        ((0, 1, 2), np.uint8, [0, 2, 2], []),
        ((0, 1, 2), np.uint8, [0, 3, 7, 3], [3, 7]),
        ((0, 1, 2), np.int8, [-1, 2], [-1]),
        ((0, 1, 255), np.uint8, [0, 255], []),
        ((0, 1, 255), np.uint8, [2, 255], [2]),
        ((1, 2), np.uint8, [0, 1], [0]),
        ((0, 1, 2), np.uint8, [], []),
        ((0, 2), np.uint8, [1], [1]),
    ],
)
def test_every_code_that_is_none_is_told(
    codes: tuple[int, ...], dtype: Any, values: list[int], unknown: list[int]
) -> None:
    spec = ArraySpec("c", ("i",), "uint8", "1", "", codes=dict.fromkeys(codes, "name"))
    array = np.array(values, dtype)
    if not unknown:
        check_values(array, spec, "here")
        return
    with pytest.raises(ContractError) as caught:
        check_values(array, spec, "here")
    assert str(caught.value) == f"c of here holds {unknown}; its codes are {sorted(codes)}"


@pytest.mark.parametrize(
    ("dims", "is_one"),
    [(("a", "b", "c"), True), (("a", "c"), True), (("a", "b"), False), (("a", "c", "b"), False), (("c",), False)],
)
def test_a_dimension_with_a_question_mark_may_be_absent_and_the_others_not(dims: tuple[str, ...], is_one: bool) -> None:
    spec = ArraySpec("x", ("a", "b?", "c"), "float64", "1", "")
    variable = xr.Variable(dims, np.zeros((2, 3, 4)[: len(dims)]))
    if is_one:
        check_array(variable, spec, "here")
        return
    with pytest.raises(ContractError, match=r"x of here must have dims \(a, b\?, c\), got \("):
        check_array(variable, spec, "here")


_VALUES: dict[str, Any] = {
    "text": "a",
    "integer": 3,
    "numpy integer": np.int64(3),
    "real": 3.5,
    "numpy real": np.float32(3.5),
    "boolean": True,
    "numpy boolean": np.bool_(False),
    "list": [1],
    "tuple": (1,),
    "array": np.zeros(2),
    "table": {"a": 1},
    "none": None,
}
_ARE = {
    "text": {"text"}, "integer": {"integer", "numpy integer"}, "boolean": {"boolean", "numpy boolean"},
    "real": {"integer", "numpy integer", "real", "numpy real"}, "list": {"list", "tuple", "array"}, "table": {"table"},
}  # fmt: skip


@pytest.mark.parametrize("kind", _ARE)
@pytest.mark.parametrize("name", _VALUES)
def test_an_attribute_is_of_its_kind_and_no_truth_is_a_number(kind: Any, name: str) -> None:
    spec = AttributeSpec("x", kind, "", "")
    if name in _ARE[kind]:
        check_attributes({"x": _VALUES[name]}, [spec], "here")
        return
    with pytest.raises(
        ContractError, match=f"the attribute x of here must be {kind}, got {type(_VALUES[name]).__name__}"
    ):
        check_attributes({"x": _VALUES[name]}, [spec], "here")


def test_what_is_not_required_may_be_absent_and_has_to_be_right_if_it_is_there() -> None:
    needed, optional = AttributeSpec("a", "text", "", ""), AttributeSpec("b", "real", "1", "", required=False)
    check_attributes({"a": "x", "c": 1}, [needed, optional], "here")
    with pytest.raises(ContractError, match=r"here needs the attributes \['a'\]; it has \['b'\]"):
        check_attributes({"b": 1.0}, iter([needed, optional]), "here")
    with pytest.raises(ContractError, match="the attribute b of here must be real, got str"):
        check_attributes({"a": "x", "b": "1"}, iter([needed, optional]), "here")
    arrays = (_NUMBER, ArraySpec("y", ("i",), "bool", "1", "", required=False))
    group = GroupSpec(("g",), "", arrays, (needed,))
    whole = xr.Dataset({"x": ("i", [1.0, 2.0])}, attrs={"a": "x"})
    check_group(whole, group, "here", values=True)
    check_group(whole.assign(y=("i", [True, False])), group, "here", values=True)
    with pytest.raises(ContractError, match="y of here must be bool, got float64"):
        check_group(whole.assign(y=("i", [1.0, 0.0])), group, "here", values=False)
    with pytest.raises(ContractError, match=r"here needs x \(i\); it has \['y'\]"):
        check_group(xr.Dataset({"y": ("i", [True])}, attrs={"a": "x"}), group, "here", values=True)
    with pytest.raises(ContractError, match="here needs the attributes"):
        check_group(whole.drop_attrs(), group, "here", values=True)
    bad = whole.assign(x=("i", [1.0, 99.0]))
    check_group(bad, group, "here", values=False)
    with pytest.raises(ContractError, match="must lie within"):
        check_group(bad, group, "here", values=True)


def test_each_group_of_a_file_is_checked_by_the_row_that_names_it() -> None:
    first, second = (
        GroupSpec(("a", "b"), "", (_NUMBER,)),
        GroupSpec(("c",), "", (ArraySpec("z", (), "int64", "1", ""),)),
    )
    spec = FileSpec("a thing", "", "w", (first, second), (AttributeSpec("w", "integer", "1", ""),), schema=3)
    ten = xr.Dataset({"x": ("i", [10.0])})

    def tree(**groups: xr.Dataset) -> xr.DataTree:
        made = xr.DataTree.from_dict({f"/{name}": group for name, group in groups.items()})
        made.attrs.update(w=1)
        return made

    whole = tree(b=ten, c=xr.Dataset({"z": ((), 4)}))
    check_file(whole, spec, values=True)
    for groups in ({"c": ten}, {"a": ten, "b": ten + 1}, {"a": ten, "c": xr.Dataset({"z": ((), 4.0)})}):
        with pytest.raises(ContractError):
            check_file(tree(**groups), spec, values=True)
    with pytest.raises(ContractError, match=r"a thing has the group 'd'; it may have \['a', 'b', 'c'\]"):
        check_file(tree(d=ten), spec, values=True)
    whole.attrs["schema"] = 3
    check_file(whole, spec, values=True)
    whole.attrs["schema"] = 4
    with pytest.raises(NewerSchemaError):
        check_file(whole, spec, values=True)


# tables


@pytest.mark.parametrize(
    ("kind", "cells", "is_one"),
    [
        ("text", ["a", None], True),
        ("text", ["a", 1], False),
        ("text", [1, 2], False),
        ("text", [None, None], True),
        ("integer", [1, 2], True),
        ("integer", [1.0, 2.0], False),
        ("integer", [True, False], False),
        ("real", [1.0, np.nan], True),
        ("real", [1, 2], False),
        ("boolean", [True, False], True),
        ("boolean", [1, 0], False),
    ],
)
def test_a_column_is_of_its_kind_missing_cells_apart(kind: Any, cells: list[Any], is_one: bool) -> None:
    spec = ColumnSpec("x", kind, "", "")
    if is_one:
        check_column(pd.Series(cells), spec, "here")
        return
    with pytest.raises(ContractError, match=f"the column x of here must be {kind}, got"):
        check_column(pd.Series(cells), spec, "here")


def test_a_column_lies_within_its_bounds_and_among_its_words() -> None:
    spec = ColumnSpec("x", "real", "1", "", (0.0, 1.0))
    check_column(pd.Series([0.0, 1.0, np.nan]), spec, "here")
    for cells in ([-0.001, 0.5], [0.5, 1.001]):
        with pytest.raises(ContractError, match="the column x of here must lie within 0 and 1, 1 values do not"):
            check_column(pd.Series(cells), spec, "here")
    check_column(pd.Series([], dtype=float), spec, "here")
    words = ColumnSpec("w", "text", "", "", values=("ok", "failed"))
    check_column(pd.Series(["ok", None, "failed"]), words, "here")
    with pytest.raises(ContractError, match=r"the column w of here holds 2 other values than \('ok', 'failed'\)"):
        check_column(pd.Series(["b", "ok", "a"]), words, "here")


def test_columns_stand_in_their_order_and_further_ones_only_where_they_may() -> None:
    columns = (ColumnSpec("a", "text", "", ""), ColumnSpec("b", "integer", "1", ""))
    closed, opened = TableSpec("t", "", columns), TableSpec("t", "", columns, more=True)
    table = pd.DataFrame({"a": ["x"], "b": [1]})
    for spec in (closed, opened):
        check_table(table, spec)
        for broken, words in (
            (table[["b", "a"]], "the order is"),
            (table[["a"]], r"missing are \['b'\], unknown are \[\]"),
            (
                table.assign(c=1)[["a", "c", "b"]],
                "the order is" if spec.more else r"missing are \[\], unknown are \['c'\]",
            ),
            (table.assign(b="1"), "b of t must be integer"),
        ):
            with pytest.raises(ContractError, match=words):
                check_table(broken, spec)
    check_table(table.assign(c=1), opened)
    with pytest.raises(ContractError, match=r"missing are \[\], unknown are \['c'\]"):
        check_table(table.assign(c=1), closed)
    kinds = tuple(ColumnSpec(kind, kind, "", "") for kind in ("text", "integer", "real", "boolean"))  # type: ignore[arg-type]
    made = TableSpec("t", "", kinds)
    assert made.pandas_types == {"text": "str", "integer": "Int64", "real": "float64", "boolean": "boolean"}
    assert made.names == ("text", "integer", "real", "boolean")
