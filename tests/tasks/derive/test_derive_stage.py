"""What the derive stage plans from a ledger and a table of people."""

import math

import pytest

from tasks.derive.derive_stage import DERIVE, VERSION, plan_derivation, planned_keys, read_body_sizes
from tasks.derive.settings import DeriveSettings
from tasks.execution.stage import Planning
from tasks.inference.segment_stage import SEGMENT
from tasks.state.ledger import Outcome, open_ledger
from tasks.state.store import Cohort

STUDIES = ("0012-2", "0012-3", "13-2")


@pytest.fixture
def planning(tmp_path):
    """Three segmented studies, one of them with landmarks, and one that was not."""
    with open_ledger(tmp_path / "ledger.sqlite") as ledger:
        ledger.record([
            *(Outcome(s, "segment", "ok", key=f"k-{s}", summary={"model": "default"}) for s in reversed(STUDIES)),
            Outcome("14-2", "segment", "quarantined", "image_flat"),
            Outcome("13-2", "predict landmark_heatmap-a", "ok", key="kl", summary={"values": {"lax_2c_mapse_mm": 9.0}}),
        ])  # fmt: skip
        usual = {"cohort": Cohort(tmp_path), "ledger": ledger, "settings": DeriveSettings()}
        yield lambda **given: plan_derivation(DERIVE, Planning(**{**usual, **given}))


def test_every_segmented_study_is_planned_with_its_size_and_landmarks(planning, tmp_path):
    people = tmp_path / "people.csv"
    people.write_text("eid,visit,height_cm,kg\n0012,2,170,70\n13,2,180,\n99,2,160,60\n")
    planned = planning(participants=people, participant_columns={"participant": "eid", "weight_kg": "kg"})
    assert [unit["study"] for unit in planned.units] == list(STUDIES)
    assert [unit["height_cm"] for unit in planned.units] == pytest.approx([170, math.nan, 180], nan_ok=True)
    assert [unit["weight_kg"] for unit in planned.units] == pytest.approx([70, math.nan, math.nan], nan_ok=True)
    assert [unit["landmarks"] for unit in planned.units] == [{}, {}, {"lax_2c": ["landmark_heatmap-a", "kl"]}]
    assert {unit["model"] for unit in planned.units} == {"default"}
    (note,) = planned.notes
    assert note.startswith("1 of 3 studies have no row in participants")


def test_without_people_or_with_all_of_them_there_is_nothing_to_note(planning, tmp_path):
    alone = planning()
    assert (len(alone.units), list(alone.notes)) == (3, [])
    assert all(math.isnan(unit["height_cm"]) for unit in alone.units)
    people = tmp_path / "people.csv"
    people.write_text("participant,visit\n0012,2\n0012,3\n13,2\n")
    known = planning(participants=people)
    assert (len(known.units), list(known.notes)) == (3, [])
    assert [unit["key"] for unit in known.units] == [unit["key"] for unit in alone.units]
    assert {unit["model"] for unit in planning(model="other").units} == {"other"}


@pytest.mark.parametrize("basal_slices", ["whole", "parts"])
def test_the_recipe_gives_the_key_of_every_unit_also_with_landmarks_and_parts_of_slices(planning, basal_slices):
    units = planning(settings=DeriveSettings(basal_slices=basal_slices)).units
    recipe = {"version": VERSION, "model": "default", "basal_slices": basal_slices}
    other = "parts" if basal_slices == "whole" else "whole"
    assert [planned_keys(recipe)(unit) for unit in units] == [(unit["key"],) for unit in units]
    assert all(planned_keys({**recipe, "basal_slices": other})(unit) != (unit["key"],) for unit in units)


def test_a_table_without_sizes_gives_none_and_one_without_visits_is_refused(tmp_path):
    people = tmp_path / "people.csv"
    people.write_text("participant,visit,weight_kg\n1,2,70\n")
    (size,) = read_body_sizes(people).values()
    assert math.isnan(size.height_cm)
    assert size.weight_kg == 70
    people.write_text("participant,height_cm\n1,170\n")
    with pytest.raises(ValueError, match=r"lacks \['visit'\]"):
        read_body_sizes(people)


def test_the_stage_follows_segmentation():
    assert (DERIVE.name, DERIVE.upstream, DERIVE.version) == ("derive", SEGMENT, VERSION)
    assert (DERIVE.title, DERIVE.optional) == ("Measured", False)
