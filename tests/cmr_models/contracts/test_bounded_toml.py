"""TOML of a few kilobytes takes no gigabytes, and what people write is read as it is."""

import time
import tomllib

import pytest

from cmr_models.contracts.bounded_toml import load_toml

_DEEP = ".".join("a" * 17)


@pytest.mark.parametrize(
    "text",
    [
        f"{_DEEP} = 1",
        f"[{_DEEP}]",
        f"[[ {_DEEP} ]]",
        f"x = {{{_DEEP} = 1}}",
        ".".join(['"a b"'] * 17) + " = 1",
        " . ".join(["'#'"] * 17) + " = 1",
        f'x = """\n\\""" """\n{_DEEP} = 1',
        "a." * 20_000 + "a = 1",
    ],
)
def test_a_key_of_more_than_sixteen_parts_is_refused_before_it_is_read(text: str) -> None:
    start = time.process_time()
    with pytest.raises(tomllib.TOMLDecodeError, match="more than 16 parts"):
        load_toml(text)
    assert time.process_time() - start < 1.0


def test_dots_in_texts_and_comments_are_no_parts_of_keys() -> None:
    words = ".".join("a" * 40)
    text = f'# {words}\nx = "{words}"\ny = \'{words}\'\nz = \'\'\'{words}\n\'\'\'\nw = """\\"{words}"""\n'
    assert load_toml(text) == {"x": words, "y": words, "z": f"{words}\n", "w": f'"{words}'}
    assert load_toml(".".join("a" * 16) + " = 1")
    assert load_toml("[a.b]\nc.d = 1.5") == {"a": {"b": {"c": {"d": 1.5}}}}


@pytest.mark.parametrize("piece", ['\\"""', '"""', "'''", '"', "a", "a ", "a.", "''."])
def test_odd_text_takes_time_by_its_length_not_its_square(piece: str) -> None:
    start = time.process_time()
    with pytest.raises(tomllib.TOMLDecodeError):
        load_toml('x = """\n' + piece * (500_000 // len(piece)))
    with pytest.raises(tomllib.TOMLDecodeError):
        load_toml(piece * (500_000 // len(piece)) + "\n=")
    assert time.process_time() - start < 5.0


def test_text_beyond_a_megabyte_is_refused() -> None:
    with pytest.raises(tomllib.TOMLDecodeError, match="1,048,576 characters"):
        load_toml("#" * (2**20 + 1))
