"""Columns of an export by field, visit and position, in whatever order the file has them."""

import numpy as np
import pandas as pd
import pytest

from cmr_models.analysis.biobank import IDENTIFIERS, FieldTable, parse_column


def test_answers_stand_in_the_order_of_their_positions_and_visits_in_theirs() -> None:
    table = pd.DataFrame(
        {"p4080_i3": [3, 33], "p4080_i2_a10": [10, 110], "p4080_i2_a2": [2, 12], "eid": [8, 7], "p4080_i0_a0": [0, 1]}
    )
    data = FieldTable.of(table)
    assert list(data.values(4080, 2)) == ["p4080_i2_a2", "p4080_i2_a10"]
    assert data.values(4080, 2).to_numpy().tolist() == [[2, 10], [12, 110]]
    assert data.instances(4080) == [0, 2, 3]
    assert data.instances(31) == []
    assert data.values(4080).iloc[:, 0].tolist() == [0, 1]
    assert data.participants.tolist() == ["8", "7"]
    with pytest.raises(ValueError, match=r"field 4080 is not in the table at instance 1; it is at \[0, 2, 3\]"):
        data.values(4080, 1)


@pytest.mark.parametrize("name", ["eid", "f.eid", "participant.eid"])
def test_people_are_found_in_each_kind_of_export(name: str) -> None:
    assert name in IDENTIFIERS
    assert FieldTable.of(pd.DataFrame({name: [5.0, 3.0], "31-0.0": [0, 1]})).participants.tolist() == ["5", "3"]


def test_rows_without_a_person_and_tables_without_a_column_of_people_are_refused() -> None:
    with pytest.raises(ValueError, match="2 rows have no participant"):
        FieldTable.of(pd.DataFrame({"eid": [1, None, None]}))
    with pytest.raises(ValueError, match="no column of participants"):
        FieldTable.of(pd.DataFrame({"id": [1]}))
    with pytest.raises(ValueError, match="2 rows repeat a participant"):
        FieldTable.of(pd.DataFrame({"eid": [1, "1", "1.0", 2]}))


@pytest.mark.parametrize(
    "name", ["x31-0.0", "31-0.0.1", "31-0", "f.31.0", "p31_i", "p31_i2_a", "p31_x", "31", "participant.eid"]
)
def test_a_name_that_is_only_like_a_field_is_none(name: str) -> None:
    assert parse_column(name) is None


def test_lists_in_cells_are_taken_apart_row_by_row() -> None:
    cells = ['["I48", "I500"]', None, "[]", "NA", '["I10"]', "", "C50|C51|C52", " NA "]
    table = pd.DataFrame({"eid": range(8), "p41270": cells}).iloc[[4, 0, 1, 2, 3, 5, 6, 7]]
    values = FieldTable.of(table).values(41270)
    assert values.index.tolist() == [4, 0, 1, 2, 3, 5, 6, 7]
    assert list(values) == ["p41270[0]", "p41270[1]", "p41270[2]"]
    nothing = [None, None, None]
    assert values.to_numpy().tolist() == [
        ["I10", None, None], ["I48", "I500", None], nothing, nothing, nothing, nothing, ["C50", "C51", "C52"], nothing,
    ]  # fmt: skip
    of_none = FieldTable.of(pd.DataFrame({"eid": [1, 2], "p41270": ["[]", None]})).values(41270)
    assert of_none.shape == (2, 1)
    assert of_none.isna().all(axis=None)


@pytest.mark.parametrize("cell", ['["Z999', "[" * 3000, "[" + "9" * 5000 + "]"])
def test_a_cell_that_begins_like_a_list_and_is_none_is_told_and_not_quoted(cell: str) -> None:
    data = FieldTable.of(pd.DataFrame({"eid": [1, 2], "p41270": ['["I10"]', cell]}))
    with pytest.raises(ValueError, match="column 'p41270' has a cell that begins like a list and is none") as told:
        data.values(41270)
    assert cell not in str(told.value)


def test_plain_cells_and_several_columns_are_left_as_they_are() -> None:
    plain = pd.DataFrame({"eid": [1, 2], "p41270": ["I48 [old]", None], "p31": [0.5, np.nan]})
    assert FieldTable.of(plain).values(41270).iloc[:, 0].tolist() == ["I48 [old]", None]
    assert list(FieldTable.of(plain).values(31)) == ["p31"]
    several = pd.DataFrame({"eid": [1], "p41270_a0": ["I48|I50"], "p41270_a1": ["I10"]})
    assert FieldTable.of(several).values(41270).to_numpy().tolist() == [["I48|I50", "I10"]]
