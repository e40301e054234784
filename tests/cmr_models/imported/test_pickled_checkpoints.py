"""Checkpoints are opened without running what is in them."""

import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from cmr_models.imported.checkpoints import read_checkpoint


def test_tensors_and_numpy_scalars_come_back_as_plain_values(tmp_path: Path) -> None:
    content = {"a": torch.arange(3.0), "b": [np.float64(0.5), np.float32(-0.25), np.int64(7), np.bool_(True)], "c": "x"}
    torch.save(content, tmp_path / "c.pth")
    read = read_checkpoint(tmp_path / "c.pth")
    assert read["a"].tolist() == [0, 1, 2]
    assert read["b"] == [0.5, -0.25, 7, True]
    assert [type(value) for value in read["b"]] == [float, float, int, bool]


class _Runs:
    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = function, arguments

    def __reduce__(self) -> tuple[Any, ...]:
        return self.call


@pytest.mark.parametrize("function", [os.system, eval, getattr, np.load, np.fromfile, torch.load, pickle.loads])
def test_a_checkpoint_that_would_run_code_is_refused(tmp_path: Path, function: Any) -> None:
    torch.save({"network_weights": {}, "x": _Runs(function, f"touch {tmp_path}/ran")}, tmp_path / "c.pth")
    with pytest.raises(ValueError, match="damaged, or code would have to run to open it"):
        read_checkpoint(tmp_path / "c.pth")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    "values", [np.array([1, "x"], object), np.array(["2020"], "datetime64[D]"), np.array(["ab"])], ids=str
)
def test_scalars_that_are_no_numbers_are_refused(tmp_path: Path, values: np.ndarray) -> None:
    scalar = np.dtype(values.dtype).type
    torch.save(
        {"x": _Runs(np._core.multiarray.scalar, values.dtype, b"8" * 8), "y": scalar is None}, tmp_path / "c.pth"
    )
    with pytest.raises(ValueError, match="code would have to run"):
        read_checkpoint(tmp_path / "c.pth")


def test_a_truncated_checkpoint_and_one_without_weights_are_refused(tmp_path: Path) -> None:
    torch.save({"a": torch.zeros(1000)}, tmp_path / "c.pth")
    (tmp_path / "c.pth").write_bytes((tmp_path / "c.pth").read_bytes()[:500])
    with pytest.raises(ValueError, match="damaged"):
        read_checkpoint(tmp_path / "c.pth")
    torch.save([1, 2], tmp_path / "d.pth")
    with pytest.raises(ValueError, match="holds a list"):
        read_checkpoint(tmp_path / "d.pth")
