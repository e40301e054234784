"""What is written directly is what zarr would write: xarray reads the same tree."""

from pathlib import Path

import numpy as np
import pytest
import xarray as xr
import zarr
from zarr.storage import MemoryStore

from tasks.state import zarr_encoding
from tasks.state.store import load_tree, publish
from tasks.state.zarr_encoding import EncodingError, encode_tree


def _tree(n_frames: int = 23) -> xr.DataTree:
    rng = np.random.default_rng(0)
    view = xr.Dataset(
        {
            "intensity": (
                ("frame", "slice", "row", "col"),
                rng.integers(0, 900, (n_frames, 3, 9, 7), dtype=np.uint16),
            ),
            "label": (("frame", "slice", "row", "col"), rng.integers(0, 3, (n_frames, 3, 9, 7), dtype=np.uint8)),
            "frame_valid": (("frame", "slice"), rng.random((n_frames, 3)) < 0.5),
            "time_ms": ("frame", np.linspace(0, 900, n_frames), {"units": "ms"}),
            "number": ((), np.int64(7)),
        },
        attrs={"slice_mm": float("nan"), "flags": ["slice_gap"], "n": np.int64(3)},
    )
    tree = xr.DataTree.from_dict({"/sax": view, "/lax_4c": view.isel(slice=[0])})
    tree.attrs["key"] = "abc"
    return tree


@pytest.mark.parametrize("n_frames", [1, 10, 23])
def test_xarray_reads_back_the_same_tree(n_frames: int, tmp_path: Path) -> None:
    tree = _tree(n_frames)
    publish(encode_tree(tree), tmp_path / "a.zarr.zip")
    decoded = load_tree(tmp_path / "a.zarr.zip")
    xr.testing.assert_identical(decoded["sax"].to_dataset(), tree["sax"].to_dataset())
    xr.testing.assert_identical(decoded["lax_4c"].to_dataset(), tree["lax_4c"].to_dataset())
    assert decoded.attrs == tree.attrs


def test_zarr_finds_every_chunk_where_it_looks_for_it() -> None:
    values = encode_tree(_tree())
    buffer = zarr.core.buffer.default_buffer_prototype().buffer
    store = MemoryStore({key: buffer.from_bytes(value) for key, value in values.items()}, read_only=True)
    array = zarr.open_array(store, path="sax/intensity", mode="r")
    assert array.chunks == (10, 1, 9, 7)
    assert array.nchunks_initialized == array.nchunks


def test_the_same_tree_gives_the_same_bytes() -> None:
    assert encode_tree(_tree()) == encode_tree(_tree())


def test_text_is_refused() -> None:
    tree = xr.DataTree(xr.Dataset({"name": ("i", np.array(["a", "b"]))}))
    with pytest.raises(TypeError, match="only numbers"):
        encode_tree(tree)


def test_a_codec_that_changes_pixels_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    class Broken(zarr_encoding.Blosc):
        def decode(self, buf: bytes, out: None = None) -> bytes:
            return bytes(len(super().decode(buf)))

    monkeypatch.setattr(zarr_encoding, "Blosc", Broken)
    with pytest.raises(EncodingError, match="differs after decoding"):
        encode_tree(_tree())
