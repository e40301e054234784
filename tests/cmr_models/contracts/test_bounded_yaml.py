"""YAML of others: aliases count each time they are used, whatever the text's length."""

import pytest
import yaml

from cmr_models.contracts.bounded_yaml import TooManyNodesError, load_yaml


def test_plain_text_and_a_few_aliases_are_read() -> None:
    assert load_yaml("a: &x [1, 2]\nb: *x\nc: {<<: {d: 3}}\n") == {"a": [1, 2], "b": [1, 2], "c": {"d": 3}}
    assert load_yaml("") is None


@pytest.mark.parametrize("text", ["a: &x [*x]\n", "&x {a: *x}\n"])
def test_a_value_that_holds_itself_is_refused(text: str) -> None:
    with pytest.raises(TooManyNodesError):
        load_yaml(text)


def test_nine_levels_of_nine_aliases_are_refused_at_once() -> None:
    levels = ["a: &a [x,x,x,x,x,x,x,x,x]"]
    for k in range(9):
        before, here = chr(97 + k), chr(98 + k)
        levels.append(f"{here}: &{here} [{','.join([f'*{before}'] * 9)}]")
    with pytest.raises(TooManyNodesError, match="100000 values"):
        load_yaml("\n".join(levels))


def test_four_levels_of_nine_aliases_are_seven_thousand_values() -> None:
    text = "a: &a [x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b]\n"
    assert sum(len(inner) for row in load_yaml(text)["c"] for inner in row) == 9**3


def test_other_faults_are_the_parsers_own() -> None:
    with pytest.raises(yaml.YAMLError):
        load_yaml("a: [")


@pytest.mark.parametrize("text", ["a: " + "1:" * 40_000 + "1\n", "#" + "x" * 2**20 + "\na: 1\n"])
def test_a_number_of_base_60_with_forty_thousand_digits_and_a_megabyte_are_refused(text: str) -> None:
    with pytest.raises(yaml.YAMLError):
        load_yaml(text)
