"""Of free text in headers a study keeps terms of cardiac MR, and no word that somebody may have typed."""

import pytest

from tasks.convert.header_words import FIELDS, kept_words


@pytest.mark.parametrize(
    ("field", "text", "kept"),
    [
        ("series_description", "cine_trufi_retro 2CH", "cine trufi retro 2CH"),
        ("series_description", "CINE_segmented_SAX_b4 Smith^Anna", "CINE segmented SAX"),
        ("series_description", "SAX3 ANNA MÜLLER 19510203 tel 555", "SAX"),
        ("series_description", "perf rest Dr. House", "perf rest"),
        ("series_description", "cineSmith sax-Smith", "sax"),
        ("sequence_name", "*tfi2d1_10", "tfi"),
        ("sequence_name", "*fl2d1_v250in", "fl"),
        ("manufacturer", "SIEMENS", "SIEMENS"),
        ("manufacturer", "GE MEDICAL SYSTEMS of Anna Smith", "GE MEDICAL SYSTEMS"),
        ("manufacturer_model", "Aera ZQXMODEL", "Aera"),
        ("manufacturer_model", "DISCOVERY MR750w", "DISCOVERY MR750w"),
        ("scanning_sequence", "GR\\ANNA", "GR"),
        ("scan_options", "CT\\19510203", "CT"),
        ("sequence_variant", "SS\\SP", "SS SP"),
    ],
)
def test_terms_stay_and_all_else_goes(field: str, text: str, kept: str) -> None:
    assert kept_words(field, text) == kept


@pytest.mark.parametrize("field", FIELDS)
def test_a_name_a_date_and_a_number_stay_in_no_field(field: str) -> None:
    for text in ("Smith^Anna", "smith_anna", "1951-02-03", "19510203", "4429811", "ab12cd", "Müller", "李", ""):
        assert kept_words(field, text) == ""
