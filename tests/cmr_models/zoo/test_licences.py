"""A licence that forbids commercial use is said in words; one that does not is left alone."""

import pytest

from cmr_models.zoo.licences import is_non_commercial, licence_words, licences_words


@pytest.mark.parametrize(
    "licence",
    [
        "CC-BY-NC-SA-4.0", "CC BY-NC 4.0", "cc-by-nc-nd-3.0", "Polyform Noncommercial 1.0.0",
        "free for non-commercial research", "Non Commercial", "research only", "for research use only",
    ],
)  # fmt: skip
def test_it_forbids_commercial_use(licence: str) -> None:
    assert is_non_commercial(licence)
    assert licence_words(licence) == f"{licence}, not for commercial use"


@pytest.mark.parametrize(
    "licence", ["Apache-2.0", "MIT (weights and code of the authors)", "CC0-1.0", "CC-BY-SA-4.0", "NCSA"]
)
def test_it_does_not(licence: str) -> None:
    assert not is_non_commercial(licence)
    assert licence_words(licence) == licence


def test_none_is_told_as_none() -> None:
    assert licence_words(" ") == licences_words({}) == licences_words({"sax": ""}) == "not stated"


def test_views_are_told_apart_only_where_they_differ() -> None:
    assert licences_words({"sax": "MIT", "lax_4c": "MIT"}) == "MIT"
    both = licences_words({"sax": "CC-BY-NC-SA-4.0", "lax_4c": "MIT"})
    assert both == "lax_4c: MIT; sax: CC-BY-NC-SA-4.0, not for commercial use"
