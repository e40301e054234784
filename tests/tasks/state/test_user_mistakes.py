"""A mistake is one line, and names the user's file rather than our word for it."""

import pytest

from tasks.state.mistakes import UserMistake, faults_in_files

_FILES = {"participants": "people.csv", "outcomes": "out.csv"}


def test_a_mistake_is_one_line_whatever_it_was_made_of() -> None:
    assert str(UserMistake("a\n  b\t c ")) == "a b c"


@pytest.mark.parametrize(
    ("error", "words", "is_mistake"),
    [
        (ValueError("participants: 2 rows: bad"), "people.csv: 2 rows: bad", True),
        (ValueError("outcomes: no"), "out.csv: no", True),
        (ValueError("other: no"), "other: no", False),
        (ValueError("participants"), "people.csv:", True),
        (UserMistake("participants: said already"), "participants: said already", True),
        (KeyError("participants: no"), "'participants: no'", False),
    ],
)
def test_a_fault_of_a_table_is_one_of_its_file(error: Exception, words: str, is_mistake: bool) -> None:
    with pytest.raises(type(error)) as caught, faults_in_files(_FILES):
        raise error
    assert str(caught.value) == words
    assert isinstance(caught.value, UserMistake) == is_mistake
    if caught.value is not error:
        assert caught.value.__cause__ is error
