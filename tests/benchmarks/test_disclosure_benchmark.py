"""The benchmark of the disclosure gate still runs, and leaves nothing determined."""

from benchmarks.disclosure import measure


def test_a_small_release_is_looked_at_and_nothing_is_determined() -> None:
    found = measure(exposures=4, outcomes=3, people=2000)
    assert found["determined_after"] == 0
    assert found["hidden_rows_after"] >= found["hidden_rows_before"] > 0
    assert found["hidden_cells"] > 100
    assert found["seconds_audit"] > 0
