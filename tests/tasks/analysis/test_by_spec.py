"""Analyses by spec: everything that goes into one is in its key."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml

from tasks.analysis import by_spec
from tasks.analysis.by_spec import _is_asked_for, _key
from tasks.analysis.spec_file import read_spec


def _spec(folder: Path, **change: Any) -> Path:
    content = {
        "name": "mass", "tables": {"participants": "p.csv", "outcomes": "o.csv"}, "conditions": ["death"],
        "exposures": [{"name": "lvm_g"}, {"name": "mbf_rest_ml_min_g"}], "covariate_sets": {"few": ["sex"]},
        "primary": "few", "features": {"table": "net"}, **change,
    }  # fmt: skip
    (folder / "analysis.yaml").write_text(yaml.safe_dump(content))
    return folder / "analysis.yaml"


def _phenotypes(folder: Path, mass: float) -> None:
    table = pd.DataFrame({"study": ["1-2"], "participant": ["1"], "visit": ["2"], "lvm_g": [mass]})
    table.to_parquet(folder / "tables" / "phenotypes.parquet")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "p.csv").write_text("p")
    (tmp_path / "o.csv").write_text("o")
    (tmp_path / "s.csv").write_text("s")
    (tmp_path / "tables" / "predictions").mkdir(parents=True)
    (tmp_path / "tables" / "predictions" / "net.parquet").write_text("n")
    (tmp_path / "tables" / "perfusion.parquet").write_text("f")
    _phenotypes(tmp_path, 100.0)
    _spec(tmp_path)
    return tmp_path


def _key_of(folder: Path, withdrawn: tuple[str, ...] = ()) -> str:
    return _key(read_spec(folder / "analysis.yaml"), folder, frozenset(withdrawn))


def _write(name: str) -> Callable[[Path], object]:
    return lambda folder: (folder / name).write_text("another")


@pytest.mark.parametrize(
    "change",
    [
        _write("p.csv"), _write("o.csv"), _write("tables/perfusion.parquet"), _write("tables/predictions/net.parquet"),
        lambda folder: _phenotypes(folder, 101.0),
        lambda folder: _spec(folder, seed=3),
        lambda folder: _spec(folder, tables={"participants": "p.csv", "outcomes": "o.csv", "phenotypes": "s.csv"}),
    ],
    ids=["participants", "outcomes", "perfusion", "features", "phenotypes", "spec", "own_phenotypes"],
)  # fmt: skip
def test_every_table_and_the_spec_are_in_the_key(folder: Path, change: Callable[[Path], object]) -> None:
    before = _key_of(folder)
    (folder / "s.csv").write_text("touched, but not read")
    assert _key_of(folder) == before
    change(folder)
    assert _key_of(folder) != before


def test_who_withdrew_and_when_images_were_acquired_are_in_the_key(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = _key_of(folder)
    assert len({before, _key_of(folder, ("7",)), _key_of(folder, ("8",)), _key_of(folder, ("7", "8"))}) == 4
    assert _key_of(folder, ("8", "7")) == _key_of(folder, ("7", "8"))
    monkeypatch.setattr(by_spec, "told_times", lambda _: {"1-2": "20160615"})
    assert _key_of(folder) != before
    monkeypatch.setattr(by_spec, "VERSION", by_spec.VERSION + 1)
    assert len({before, _key_of(folder)}) == 2


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("hazards_imputed", {"missing": {"imputations": 2}}),
        ("hazards_weighted", {"participation": {"margins": {"sex": {"female": 0.5, "male": 0.5}}}}),
        ("decomposition", {"fairness": {"group_by": ["sex"], "decompose": {"size": ["height_cm"]}}}),
        ("prediction", {"prediction": {"steps": {"age": ["age_years"]}}}),
        ("prediction_calibration", {"prediction": {"steps": {"age": ["age_years"]}}}),
        ("prediction_decisions", {"prediction": {"steps": {"age": ["age_years"]}}}),
    ],
)
def test_a_table_is_made_if_the_spec_asks_for_it(folder: Path, name: str, change: dict[str, Any]) -> None:
    without = {"missing": {"imputations": 0}}
    assert not _is_asked_for(name, read_spec(_spec(folder, **without)).spec)
    assert _is_asked_for(name, read_spec(_spec(folder, **(without | change))).spec)
    assert _is_asked_for("hazards", read_spec(_spec(folder, **without)).spec)
