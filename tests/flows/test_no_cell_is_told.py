"""A marker in any column of any table of a user: whatever comes of it, no message, note, log or warning quotes it."""

import logging
import traceback
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from cmr_models.simulate.measured import example_tables
from cmr_models.simulate.planted import CohortSettings
from flows.complaints import complaint
from flows.withheld import WithheldError, original_errors, text_withheld
from tasks.analysis.by_settings import UserFiles, risk
from tasks.analysis.settings import AnalysisSettings
from tasks.state.mistakes import UserMistake
from tasks.training.cinema_samples import read_table

_MARKERS = ("ZQXMARKER^Anna", "98765432.125")
_SETTINGS = AnalysisSettings(
    phenotypes=("lvef_pct",), conditions=("death",), covariates=("sex",), group_by=("sex", "centre"), permutations=1
)
_PHENOTYPES, _PARTICIPANTS, _OUTCOMES = example_tables(60, np.random.default_rng(0), CohortSettings(hazard_factor=6.0))
_PLACES = [
    *(("participants.csv", name) for name in _PARTICIPANTS),
    *(("outcomes.csv", name) for name in _OUTCOMES),
    *(("tables/phenotypes.parquet", name) for name in ("participant", "visit", "status", "lvef_pct", "qc_ok")),
]


def _write(folder: Path, table: str, column: str, marker: str, *, everywhere: bool) -> None:
    tables = {
        "participants.csv": _PARTICIPANTS, "outcomes.csv": _OUTCOMES, "tables/phenotypes.parquet": _PHENOTYPES,
    }  # fmt: skip
    (folder / "tables").mkdir(exist_ok=True)
    for name, content in tables.items():
        if name == table:
            cells = content[column].astype(object)
            cells.iloc[slice(None) if everywhere else slice(3, 4)] = marker
            content = content.assign(**{column: cells.astype(str) if name.endswith("parquet") else cells})
        if name.endswith("parquet"):
            content.to_parquet(folder / name)
        else:
            content.to_csv(folder / name, index=False)


@pytest.fixture
def told(caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]) -> Iterator[list[str]]:
    """What was said; at the end, with all that was logged and printed, no marker may be in it."""
    caplog.set_level(logging.DEBUG)
    lines: list[str] = []
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        yield lines
    printed = capfd.readouterr()
    lines += [caplog.text, printed.out, printed.err, *(str(warning.message) for warning in warned)]
    assert [line for line in lines if any(marker.lower() in line.lower() for marker in (*_MARKERS, "98765432"))] == []


def _say(error: Exception, lines: list[str]) -> None:
    """What the command prints, and the notes; and what Prefect is given."""
    lines.append(str(complaint(error).message))
    lines += getattr(error, "__notes__", [])

    @text_withheld
    def flow() -> None:
        raise error

    with pytest.raises(WithheldError) as withheld:
        flow()
    lines.append(repr(withheld.value))


@pytest.mark.parametrize(("table", "column"), _PLACES)
def test_no_cell_of_a_table_of_the_settings_is_told(table: str, column: str, tmp_path: Path, told: list[str]) -> None:
    for marker, everywhere in zip(_MARKERS, (False, True), strict=True):
        _write(tmp_path, table, column, marker, everywhere=everywhere)
        try:
            risk(tmp_path, _SETTINGS, UserFiles(tmp_path / "participants.csv", tmp_path / "outcomes.csv"))
        except Exception as error:  # noqa: BLE001  whatever it is
            _say(error, told)


def test_a_message_of_a_library_is_not_told(told: list[str]) -> None:
    """pandas quotes the cell that it cannot read; so does ``float``, without a frame of its own."""
    for read in (lambda: pd.to_numeric(pd.Series([_MARKERS[0]])), lambda: float(_MARKERS[0])):
        with pytest.raises(ValueError, match="ZQXMARKER") as raised:
            read()
        _say(raised.value, told)
        assert "an error of this software, ValueError" in told[-2]


def test_a_message_of_ours_is_told() -> None:
    with pytest.raises(ValueError, match="outcomes") as raised:
        _ours()
    assert "outcomes: columns" in complaint(raised.value).message


def _ours() -> None:
    from cmr_models.analysis.people import analysis_outcome

    analysis_outcome(_PARTICIPANTS, _OUTCOMES.drop(columns="event"), "death")


def test_errors_come_out_of_a_flow_as_they_were_with_their_notes() -> None:
    first = UserMistake("a line")

    @text_withheld
    def inner() -> None:
        raise first

    @text_withheld
    def outer() -> None:
        try:
            inner()
        except Exception as error:
            error.add_note("traceback in log.txt")
            raise

    with pytest.raises(UserMistake) as raised, original_errors():
        outer()
    assert raised.value is first
    assert first.__notes__ == ["traceback in log.txt"]
    with pytest.raises(WithheldError, match=r"^UserMistake at test_no_cell_is_told.py:\d+") as withheld:
        outer()
    assert traceback.extract_tb(withheld.value.__cause__.__traceback__)  # type: ignore[union-attr]


def test_no_cell_of_a_training_table_is_told(tmp_path: Path, told: list[str]) -> None:
    for column in ("study", "split", "ed_frame"):
        table = pd.DataFrame({"study": ["1-2", "2-2"], "split": ["train", "test"], "ed_frame": [0, 1]}).astype(object)
        table.loc[1, column] = _MARKERS[0]
        table.to_csv(tmp_path / "table.csv", index=False)
        try:
            read_table(tmp_path / "table.csv")
        except ValueError as error:
            _say(error, told)
            assert column == "split"
