"""What counts as the manifest of a UK Biobank zip, and when it lists other files than there are."""

import pytest

from tasks.sources.manifest import disagrees, is_manifest

_LISTED = b'filename,patientid,date\n"a.dcm",1,"Jan 3, 2015"\n b.DCM ,1,\nmanifest.csv,,\n'


@pytest.mark.parametrize(
    ("name", "is_one"),
    [
        ("manifest.csv", True), ("x/Manifest.CVS", True), ("manifest.txt", False), ("manifest.csv/a.dcm", False),
        ("other_manifest.csv", False),
    ],
)  # fmt: skip
def test_a_manifest_is_known_by_its_last_name(name: str, is_one: bool) -> None:
    assert is_manifest(name) == is_one


@pytest.mark.parametrize(
    ("names", "is_other"),
    [
        ({"a.dcm", "b.DCM"}, False), ({"a.dcm"}, True), ({"a.dcm", "b.DCM", "c.dcm"}, True), (set(), True),
        ({"a.dcm", "b.dcm"}, True),
    ],
)  # fmt: skip
def test_one_file_more_or_less_disagrees_and_commas_in_dates_do_not(names: set[str], is_other: bool) -> None:
    assert disagrees(_LISTED, names) == is_other


def test_a_manifest_of_a_header_alone_lists_nothing() -> None:
    assert not disagrees(b"filename.dcm,date\n", set())
    assert not disagrees(b"", set())
