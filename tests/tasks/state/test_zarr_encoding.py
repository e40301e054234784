"""What is written directly is what zarr would write: xarray reads the same tree."""

import json
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


# keys and metadata, as the format says


def _encoded(values: np.ndarray, dims: tuple[str, ...], **attributes: object) -> dict[str, bytes]:
    tree = xr.DataTree.from_dict({"/g": xr.Dataset({"x": (dims, values, attributes)})})
    return {name.removeprefix("g/x/"): value for name, value in encode_tree(tree).items() if name.startswith("g/x/")}


@pytest.mark.parametrize(
    ("shape", "dtype", "chunk", "shuffle"),
    [
        ((23, 2, 9, 7), np.uint16, [10, 1, 9, 7], "bitshuffle"),
        ((4, 2, 9, 7), np.uint8, [4, 1, 9, 7], "shuffle"),
        ((3, 9, 7), np.float32, [1, 9, 7], "bitshuffle"),
        ((3, 9, 7), np.uint8, [1, 9, 7], "shuffle"),
        ((5, 3), np.float64, [5, 3], ""),
        ((), np.int64, [], ""),
        ((0,), np.float64, [1], ""),
        ((0, 2), bool, [1, 2], ""),
        ((2, 0, 3), np.uint16, [1, 1, 3], "bitshuffle"),
    ],
)
def test_an_array_tells_its_shape_its_chunks_and_how_they_are_packed(
    shape: tuple[int, ...], dtype: type, chunk: list[int], shuffle: str
) -> None:
    dims = ("a", "b", "c", "d")[: len(shape)]
    told = json.loads(_encoded(np.zeros(shape, dtype), dims, units="mm")["zarr.json"])
    item = np.dtype(dtype).itemsize
    assert told.pop("codecs") == [
        {"name": "bytes", "configuration": {"endian": "little"} if item > 1 else {}},
        *(
            [
                {
                    "name": "blosc",
                    "configuration": {
                        "typesize": item,
                        "cname": "zstd",
                        "clevel": 5,
                        "shuffle": shuffle,
                        "blocksize": 0,
                    },
                }
            ]
            if shuffle
            else []
        ),
    ]
    assert told == {
        "zarr_format": 3, "node_type": "array", "shape": list(shape), "data_type": np.dtype(dtype).name,
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": chunk}},
        "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}},
        "fill_value": np.zeros((), dtype).item(), "attributes": {"units": "mm"}, "dimension_names": list(dims),
        "storage_transformers": [],
    }  # fmt: skip


def test_every_chunk_has_its_place_and_beyond_the_edge_are_zeros() -> None:
    values = np.arange(1, 12 * 2 * 3 * 2 + 1, dtype=np.uint16).reshape(12, 2, 3, 2)
    encoded = _encoded(values, ("frame", "slice", "row", "col"))
    assert sorted(encoded) == ["c/0/0/0/0", "c/0/1/0/0", "c/1/0/0/0", "c/1/1/0/0", "zarr.json"]
    codec = zarr_encoding.Blosc("zstd", 5, zarr_encoding.Blosc.BITSHUFFLE)
    last = np.frombuffer(codec.decode(encoded["c/1/1/0/0"]), "<u2").reshape(10, 1, 3, 2)
    np.testing.assert_array_equal(last[:2, 0], values[10:, 1])
    assert not last[2:].any()
    first = np.frombuffer(codec.decode(encoded["c/0/1/0/0"]), "<u2").reshape(10, 1, 3, 2)
    np.testing.assert_array_equal(first[:, 0], values[:10, 1])


def test_small_arrays_lie_raw_in_one_chunk_in_the_order_of_bytes_that_is_told() -> None:
    big = np.array([[1.5, -2.0], [3.0, np.nan]], ">f8")
    assert _encoded(big, ("a", "b"))["c/0/0"] == big.astype("<f8").tobytes()
    assert _encoded(np.int64(7), ())["c"] == np.int64(7).tobytes()  # type: ignore[arg-type]
    assert _encoded(np.array([True, False]), ("a",))["c/0"] == b"\x01\x00"
    assert set(_encoded(np.zeros(0), ("a",))) == {"zarr.json"}
    transposed = np.arange(6.0).reshape(2, 3).T
    assert _encoded(transposed, ("a", "b"))["c/0/0"] == np.ascontiguousarray(transposed).tobytes()


def test_groups_tell_their_attributes_as_plain_values() -> None:
    tree = xr.DataTree.from_dict({"/g": xr.Dataset(attrs={"n": np.int64(3), "v": np.array([1.5, 2.0]), "t": "x"})})
    tree.attrs["key"] = "k"
    encoded = encode_tree(tree)
    assert set(encoded) == {"zarr.json", "g/zarr.json"}
    assert json.loads(encoded["zarr.json"]) == {"zarr_format": 3, "node_type": "group", "attributes": {"key": "k"}}
    assert json.loads(encoded["g/zarr.json"])["attributes"] == {"n": 3, "v": [1.5, 2.0], "t": "x"}
    assert encoded["g/zarr.json"].index(b"attributes") < encoded["g/zarr.json"].index(b"node_type")
    tree.attrs["odd"] = {1}
    with pytest.raises(TypeError, match="attributes must be plain values, got set"):
        encode_tree(tree)


def test_blosc_uses_one_thread_while_it_encodes_and_as_many_as_before_afterwards(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen = []
    encode = zarr_encoding._encode_array
    monkeypatch.setattr(zarr_encoding.numcodecs.blosc, "use_threads", True)
    monkeypatch.setattr(
        zarr_encoding,
        "_encode_array",
        lambda *a: (seen.append(zarr_encoding.numcodecs.blosc.use_threads), encode(*a))[1],
    )
    encode_tree(_tree(1))
    assert set(seen) == {False}
    assert zarr_encoding.numcodecs.blosc.use_threads is True


def test_what_a_group_has_from_its_parent_is_stored_once() -> None:
    frames = xr.Dataset(coords={"frame": [5, 7]})
    tree = xr.DataTree.from_dict({"/": frames, "/sax": xr.Dataset({"x": ("frame", [1.0, 2.0])})})
    assert set(encode_tree(tree)) == {
        "zarr.json", "frame/zarr.json", "frame/c/0", "sax/zarr.json", "sax/x/zarr.json", "sax/x/c/0",
    }  # fmt: skip
