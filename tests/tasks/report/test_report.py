"""The report: what it shows, what it must not show, and what it leaves alone when nothing changed."""

import contextlib
import json
import os
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from report_cohort import FRAMES, Texts, estimates, write_cohort

from cmr_models.analysis.disclosure.masking import masked_counts
from tasks.derive.phenotype_tables import with_state, write_tables
from tasks.report import is_current, render_report
from tasks.report.counts import Counts
from tasks.report.distributions import merge_bins, spread
from tasks.report.drawing import draw
from tasks.report.estimate_figures import volcano
from tasks.report.flow import cohort_flow, left_before_analysis, measured_states
from tasks.report.index_page import sentence_on_states
from tasks.report.methods import doubted_sentence, methods_text
from tasks.report.naming import band_words, full_name, lower_first, short_name
from tasks.report.pages import clean_text, number, page_name, render, script_json
from tasks.report.selection import comparable, gate_curve, survival_panels
from tasks.report.study_list import studies_with_page
from tasks.report.study_page import nice_ticks, volume_curve
from tasks.report.tables import read_tables, report_inputs
from tasks.state.csv_text import csv_text
from tasks.state.ledger import Outcome, open_ledger
from tasks.state.store import Cohort

HOSTILE = "</script><script>window.injected=1</script><img src=x onerror=window.injected=1>\u2028$x^2$"


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    root = tmp_path_factory.mktemp("report")
    settings = write_cohort(root)
    return root / "cohort", settings, render_report(root / "cohort", settings)


# what may be published


def test_every_bin_holds_at_least_the_minimum_and_none_is_lost():
    rng = np.random.default_rng(1)
    values = rng.normal(100, 20, 203)
    edges, density = merge_bins(values, np.arange(0, 210, 7.0), 5)
    counts = density * np.diff(edges) * len(values)
    assert counts.sum() == pytest.approx(203)
    assert counts.min() >= 5 - 1e-9
    assert (edges[0], edges[-1]) == (0.0, 203.0)


def test_the_edges_of_bins_do_not_tell_the_smallest_or_largest_value():
    grid = np.arange(0, 210, 7.0)
    rng = np.random.default_rng(1)
    values = rng.normal(100, 20, 203)
    extreme = np.r_[values[:-2], 3.0, 500.0]
    for sample in (values, extreme):
        edges, _ = merge_bins(sample, grid, 5)
        assert edges[0] == grid[0]
        assert edges[-1] == grid[-1]


def test_a_group_below_the_minimum_gives_nothing_and_quantiles_need_people_on_either_side():
    grid = np.arange(0.0, 101.0)
    assert spread([50.0] * 4 + [np.nan], grid, 5) is None
    few = spread(np.linspace(10, 90, 24), grid, 5)
    assert np.isnan(few.quantiles[0])
    assert np.isfinite(few.quantiles[1:4]).all()
    assert np.isfinite(spread(np.linspace(10, 90, 50), grid, 5).quantiles).all()


def test_a_masked_reason_cannot_be_had_by_subtraction():
    shown = masked_counts({"a": 30.0, "b": 7.0, "c": 2.0}, 5)
    assert shown["a"] == 30
    assert np.isnan([shown["b"], shown["c"]]).all()


def test_the_flow_balances_and_shows_all_only_when_asked():
    rows = [(f"s{k}", "convert", "ok", "") for k in range(20)]
    rows += [(f"x{k}", "convert", "quarantined", "zip_corrupt") for k in range(3)]
    rows += [(f"y{k}", "convert", "absent", "no_sax") for k in range(6)]
    rows += [(f"s{k}", "segment", "ok", "") for k in range(20)]
    rows += [(f"x{k}", "segment", "quarantined", "upstream") for k in range(3)]
    outcomes = pd.DataFrame(rows, columns=["study", "stage", "status", "reason"])
    flow = cohort_flow(outcomes, Counts(5))
    step = flow["steps"][0]
    assert flow["n_in"] == 29
    assert step["n"] + sum(kind["n"] for kind in step["left"]) == 29
    assert (step["left"][1]["text"], step["left"][1]["reasons"][0]["text"]) == ("< 5", "< 5")
    assert cohort_flow(outcomes, Counts(1))["steps"][0]["left"][1]["reasons"][0]["text"] == "3"
    assert flow["steps"][1] == {
        "title": "Segmented", "after": step["title"], "n": 20, "text": "20", "left": []
    }  # fmt: skip


def test_a_survival_step_of_few_events_is_not_drawn():
    rows = pd.DataFrame(
        {"years": [0.0, 1, 2, 3], "n_at_risk": [50.0, 40, 30, 3], "n_events": [0.0, 3, 9, 20],
         "estimate": [1, 0.9, 0.8, 0.5], "se": 0.1, "ci_low": 0.5, "ci_high": 1.0, "status": "ok"}
    )  # fmt: skip
    gated = gate_curve(rows, 5)
    assert gated["estimate"].notna().tolist() == [True, False, True, False]
    assert gated["n_at_risk"].notna().tolist() == [True, True, True, False]


def test_no_small_cell_and_no_study_id_is_on_the_publishable_page(report):
    cohort, _, index = report
    page = index.read_text()
    assert "2000003-2" not in page
    assert "1000012-2" not in page
    for path in sorted((cohort / "reports" / "assets").rglob("*")):
        if path.is_file():
            assert "1000012-2" not in path.read_text(encoding="utf-8", errors="replace"), path.name
    assert page.count("&lt; 5") >= 4  # the four reasons of quarantine


# escaping


@pytest.mark.parametrize("text", ["</script>", "<!--", "]]>", "\u2028\u2029", "&amp;", "'\"", "\ud800"], ids=repr)
def test_json_in_a_script_element_cannot_end_it_and_says_the_same(text):
    written = str(script_json({"text": text}))
    assert not set(written) & set("<>&\u2028\u2029")
    assert json.loads(written) == {"text": text}


def test_numbers_that_json_lacks_become_null():
    assert str(script_json([float("nan"), float("inf"), 1.5])) == "[null,null,1.5]"


@pytest.mark.parametrize("study", ["../../etc/passwd", "<b>", "index", "a/b", "ä", "x" * 200, ".hidden", "", "con\x00"])
def test_an_unusual_study_id_becomes_a_plain_file_name(study):
    name = page_name(study)
    assert name.startswith("study-")
    assert name.isascii()
    assert "/" not in name
    assert page_name("1000012-2") == "1000012-2.html"


def test_text_that_xml_forbids_is_replaced():
    assert clean_text("a\x00b\x1b[0m\nc\ud800") == "a\ufffdb\ufffd[0m c\ufffd"


def test_text_in_a_figure_is_neither_markup_nor_mathematics():
    def paint(figure):
        figure.subplots().set_title(clean_text(HOSTILE))

    svg = draw(paint, 4, 3).decode()
    assert "<script" not in svg
    assert "&lt;script&gt;" in svg
    assert "$x^2$" in svg


def test_a_figure_of_the_same_input_has_the_same_bytes():
    table = estimates(Texts())["hazards"]
    assert volcano(table, "Hazard ratio") == volcano(table, "Hazard ratio")


def test_a_text_cell_cannot_start_a_formula():
    text = csv_text(pd.DataFrame({"group": ["=1+1", "@x", "north", ">=75", ""], "n": [-1.0, 2, 3, 4, 5]}))
    assert text.splitlines()[1:] == ["'=1+1,-1.0", "'@x,2.0", "north,3.0", ">=75,4.0", ",5.0"]


class _Scripts(HTMLParser):
    """Collects what could run or load: script elements, handlers, addresses."""

    def __init__(self):
        super().__init__()
        self.scripts, self.handlers, self.addresses = [], [], []

    def handle_starttag(self, tag, attrs):
        if tag == "script":
            self.scripts.append(dict(attrs))
        self.handlers += [name for name, _ in attrs if name.startswith("on")]
        self.addresses += [value for name, value in attrs if name in ("src", "href", "action")]


def test_hostile_text_stays_text_on_every_page(tmp_path):
    study = HOSTILE.replace("/", "\\")
    texts = Texts(study=study, title=HOSTILE, condition=HOSTILE, centre=HOSTILE, detail=HOSTILE)
    settings = write_cohort(tmp_path, people=12, images=1, texts=texts)
    index = render_report(tmp_path / "cohort", settings)
    pages = sorted(index.parent.rglob("*.html"))
    assert len(pages) == 14
    for page in pages:
        found = _Scripts()
        found.feed(page.read_text())
        inert = [script for script in found.scripts if script.get("type") == "application/json"]
        assert all(script.get("src", "").endswith(".js") for script in found.scripts if script not in inert)
        assert found.handlers == []
        assert not [a for a in found.addresses if ":" in (a or "") and not a.startswith("data:")], page.name
    for script in index.parent.rglob("*.svg"):
        assert "<script" not in script.read_text()
    assert "</script" not in (index.parent / "studies" / "rows.js").read_text()


# the site


def test_the_report_has_every_section_and_every_link_leads_somewhere(report):
    _, _, index = report
    for page in (index, index.parent / "studies" / "index.html", index.parent / "studies" / "1000012-2.html"):
        found = _Scripts()
        found.feed(page.read_text())
        files = [a for a in found.addresses if not a.startswith(("#", "data:"))]
        assert files
        missing = [a for a in files if not (page.parent / a).exists()]
        assert missing == []
    text = index.read_text()
    assert all(f'id="{name}"' in text for name in ("flow", "phenotypes", "risk", "fairness", "quality", "methods"))
    assert all(f'id="{name}"' in text for name in ("volcano", "forest", "hazards", "survival", "group_cox_age"))


def test_a_study_page_holds_its_frames_and_marks_ed_and_es(report):
    cohort, _, index = report
    page = index.parent / "studies" / "1000012-2.html"
    text = page.read_text()
    assert page.stat().st_size < 600_000
    data = json.loads(text.split('id="study-data">')[1].split("</script>")[0])
    assert (data["frames"], data["ed"], data["es"]) == (FRAMES, 0, 4)
    assert len(data["planes"]) == 4
    assert data["frame_ms"] == 100.0  # 75 beats a minute over 8 frames
    assert ">ED</text>" in text
    assert "must not leave" in text
    assert len(list((cohort / "reports" / "studies").glob("*.html"))) == 41


def test_a_quarantined_study_has_a_page_that_says_why(report):
    _, _, index = report
    text = (index.parent / "studies" / "2000035-2.html").read_text()
    assert "The archive is truncated or fails its checksum." in text
    assert "the study was not converted" in text


def test_the_report_and_the_pages_of_studies_say_the_licence_of_the_model(report):
    _, _, index = report
    assert '<dt>Licence of the model</dt><dd class="value text">CC-BY-NC-SA-4.0, not for commercial use</dd>' in (
        index.read_text()
    )
    page = (index.parent / "studies" / "1000012-2.html").read_text()
    assert "<dt>Licence of the model</dt><dd>CC-BY-NC-SA-4.0, not for commercial use</dd>" in page


def test_the_methods_name_settings_versions_and_digests(report):
    _, _, index = report
    text = index.read_text()
    assert "adjusted for age, sex and height cm" in text
    assert "cdcdcdcdcdcdcdcd" in text
    assert f"numpy {np.__version__}" in text


def test_the_same_inputs_are_current_and_a_changed_setting_is_not(report):
    cohort, settings, _ = report
    assert is_current(cohort, settings)
    other = {**settings, "report": {"title": "Another title"}}
    assert not is_current(cohort, other)


def test_only_pages_of_changed_studies_are_made_again_and_those_of_removed_ones_go(tmp_path):
    settings = write_cohort(tmp_path, people=12)
    cohort = tmp_path / "cohort"
    studies = render_report(cohort, settings).parent / "studies"
    before = {page.name: page.stat().st_ino for page in studies.glob("[12]*.html")}
    with open_ledger(cohort / "ledger.sqlite") as ledger:
        changed = next(o for o in ledger.outcomes("derive") if o.study == "2000001-2")
        values = {**changed.summary, "phenotypes": {**changed.summary["phenotypes"], "lvef_pct": 33.0}}
        ledger.record([Outcome(changed.study, "derive", "ok", key="new", summary=values)])
        stages = ("convert", "segment", "derive")
        ledger.record([Outcome("2000002-2", stage, "retired", "source_removed") for stage in stages])
        write_tables(ledger, _cohort(cohort))
    assert not is_current(cohort, settings)
    render_report(cohort, settings)
    after = {page.name: page.stat().st_ino for page in studies.glob("[12]*.html")}
    assert set(before) - set(after) == {"2000002-2.html"}
    assert {name for name in after if after[name] != before[name]} == {"2000001-2.html"}
    assert "33.0" in (studies / "2000001-2.html").read_text()


def _cohort(root: Path):
    from tasks.state.store import Cohort

    return Cohort(root)


def test_a_report_killed_between_its_two_renames_is_put_back_and_no_draft_is_left(tmp_path):
    settings = write_cohort(tmp_path, people=8, images=1)
    cohort = tmp_path / "cohort"
    index = render_report(cohort, settings)
    inode = (index.parent / "studies" / "1000012-2.html").stat().st_ino
    os.rename(cohort / "reports", cohort / "reports.old")
    (cohort / "reports.new").mkdir()
    render_report(cohort, settings)
    assert (index.parent / "studies" / "1000012-2.html").stat().st_ino == inode
    assert sorted(path.name for path in cohort.glob("reports*")) == ["reports"]


def test_without_participants_the_sections_say_why_they_are_empty(tmp_path):
    settings = write_cohort(tmp_path, people=12, images=0)
    cohort = tmp_path / "cohort"
    for table in (cohort / "tables" / "estimates").glob("*.parquet"):
        table.unlink()
    settings["participants"] = settings["outcomes"] = None
    text = render_report(cohort, settings).read_text()
    assert text.count("No table of participants is configured") >= 3
    assert "no association was tested" in text


def test_study_pages_are_counted_as_they_are_made_and_many_get_workers(tmp_path, monkeypatch):
    settings = write_cohort(tmp_path, people=12)
    told, opened = [], []

    @contextlib.contextmanager
    def watch(total):
        told.append(total)
        yield told.append

    @contextlib.contextmanager
    def workers():
        opened.append(True)
        yield None

    render_report(tmp_path / "cohort", settings, workers=workers, watch=watch)
    assert told[0] == sum(told[1:]) > 0
    assert not opened
    monkeypatch.setattr("tasks.report.site._PAGES_WORTH_A_CLUSTER", 0)
    render_report(tmp_path / "cohort", {**settings, "segment": {"model": "another"}}, workers=workers, watch=watch)
    assert opened == [True]


def test_a_cohort_with_nothing_yet_has_a_report_that_says_so(tmp_path):
    text = render_report(tmp_path / "cohort", {}).read_text()
    assert "No study has been measured yet" in text
    assert "n = 0" in text


def test_a_study_whose_file_is_broken_gets_a_page_that_says_so(tmp_path):
    settings = write_cohort(tmp_path, people=8, images=1)
    (path,) = (tmp_path / "cohort" / "studies").rglob("*.zip")
    path.write_bytes(b"not a zip")
    index = render_report(tmp_path / "cohort", settings)
    assert "cannot be read" in (index.parent / "studies" / "1000012-2.html").read_text()


def test_beyond_the_limit_the_choice_of_pages_does_not_depend_on_who_else_is_there():
    def rows(n):
        table = pd.DataFrame(
            {"study": [f"{k}-2" for k in range(n)], "reasons": "", "stage": "derive", "outlying": False}
        )
        table.loc[table["study"] == "7-2", "reasons"] = "stroke_volumes_differ"
        return table

    few, rule = studies_with_page(rows(200), 20)
    many, _ = studies_with_page(rows(300), 20)
    assert len(few) == len(many) == 20
    assert "7-2" in few
    assert "7-2" in many
    assert "20 of 200 studies have a page" in rule
    assert set(many) <= set(few) | {f"{k}-2" for k in range(200, 300)}
    assert studies_with_page(rows(20), 20) == ([f"{k}-2" for k in range(20)], "Every study has a page.")


# small things


@pytest.mark.parametrize(
    ("value", "digits", "text"),
    [
        (1234.56, 1, "1,234.6"),
        (-0.04, 1, "0.0"),
        (-2.5, 1, "−2.5"),
        (float("nan"), 1, "–"),
        (None, 0, "–"),
        (3, 0, "3"),
    ],
)
def test_numbers_are_printed_with_thousands_and_a_dash_where_missing(value, digits, text):
    assert number(value, digits) == text


@pytest.mark.parametrize(("low", "high"), [(0, 7.3), (0, 163), (12, 991), (0, 0.0004)])
def test_ticks_are_round_few_and_cover_the_range(low, high):
    ticks = nice_ticks(low, high)
    assert ticks[-1] >= high
    assert 2 <= len(ticks) <= 8
    assert np.allclose(np.diff(ticks), ticks[1] - ticks[0])


def test_a_frame_without_a_volume_leaves_a_gap_in_the_curve():
    curve = {"time_ms": [0.0, 10, 20, 30], "lv_ml": [100.0, float("nan"), 60.0, 80.0]}
    drawn = volume_curve(curve, curve["time_ms"], 0, 2)
    assert drawn["lines"][0]["path"].count("M") == 2
    assert volume_curve({"time_ms": [0.0], "lv_ml": [float("nan")]}, [0.0], None, None) is None


def test_names_are_those_that_readers_know():
    assert full_name("lax_2c_mapse_mm") == "MAPSE, 2-chamber"
    assert full_name("lvedv_ml_m2") == "LV end-diastolic volume, indexed"
    assert short_name("lvef_pct") == "LV EF"
    assert short_name("la_area_max_cm2") == "LA maximum area"
    assert full_name("bsa_m2") == "Body surface area"
    assert full_name("lv_peak_filling_ml_s") == "LV peak filling rate"
    assert [lower_first(name) for name in ("Heart rate", "LV EDV", "")] == ["heart rate", "LV EDV", ""]
    assert band_words(">=75 - <55") == "≥75 - <55"


def test_a_count_that_was_taken_out_of_a_published_row_says_so(tmp_path):
    settings = write_cohort(tmp_path)
    path = tmp_path / "cohort" / "tables" / "estimates" / "hazards.parquet"
    table = pd.read_parquet(path)
    table.loc[table["status"] == "ok", "n"] = np.nan
    table.to_parquet(path, index=False)
    page = render_report(tmp_path / "cohort", settings).read_text()
    assert page.count(">withheld<") == int((table["status"] == "ok").sum())


def test_every_page_forbids_scripts_and_loads_from_elsewhere(report):
    _, _, index = report
    for page in index.parent.rglob("*.html"):
        assert "default-src &#39;none&#39;" in page.read_text()


def test_a_template_without_a_value_fails_instead_of_leaving_a_hole():
    from jinja2 import UndefinedError

    with pytest.raises(UndefinedError, match="rule"):
        render("studies.html.j2", root="../", columns=[], reasons=[])


@pytest.mark.parametrize(("participant", "visit"), [("0000012", "2"), ("0000012", "2.0")])
def test_sex_is_found_for_ids_with_leading_zeros_and_visits_written_as_decimals(tmp_path, participant, visit):
    path = tmp_path / "people.csv"
    path.write_text(f"eid,visit,sex\n{participant},{visit},female\n0000013,,male\n")
    settings = report_inputs({"participants": str(path), "analysis": {"participant_columns": {"participant": "eid"}}})
    people = read_tables(Cohort(tmp_path), settings).participants
    assert people.set_index("study").loc["0000012-2", "sex"] == "female"


@pytest.mark.parametrize(
    ("licence", "sentence"),
    [
        ("CC-BY-NC-SA-4.0", "Licence of its weights: CC-BY-NC-SA-4.0, not for commercial use."),
        ("Apache-2.0", "Licence of its weights: Apache-2.0."),
        ("", "Licence of its weights: not stated."),
    ],
)
def test_the_methods_say_the_licence_of_the_model(licence, sentence):
    labelled = {"model": "gone", "weights": {"sax": "ab" * 32}, "licences": {"sax": licence}}
    told = " ".join(methods_text(report_inputs({}), {}, labelled, version="1", n_in="2", n_measured="1"))
    assert sentence in told


def test_the_methods_name_what_was_adjusted_for_and_age_with_it():
    settings = report_inputs({"analysis": {"covariates": ["sex", "smoking"]}})
    tables = estimates(Texts())
    told = " ".join(methods_text(settings, tables, {}, version="1", n_in="2", n_measured="1"))
    assert "adjusted for age, sex and smoking (age is the time scale of models of time to event)" in told


# the state of a study


def _states_of(passed, doubted, minimum):
    verdicts = [True] * passed + [False] * doubted + [None] * 3
    status = ["ok"] * (passed + doubted) + ["quarantined"] * 3
    table = with_state(pd.DataFrame({"status": status, "qc_ok": pd.array(verdicts, dtype="boolean")}))
    return measured_states(table, Counts(minimum))


@pytest.mark.parametrize(
    ("passed", "doubted", "texts", "sentence"),
    [
        (38, 6, ["38", "6"], "44 were measured, of which 38 passed and 6 are doubted."),
        (41, 3, ["not shown", "< 5"], "44 were measured, of which < 5 are doubted."),
        (3, 41, ["< 5", "not shown"], "44 were measured, of which < 5 passed."),
        (44, 0, ["44", "0"], "44 were measured, and all of them passed quality control."),
    ],
)
def test_doubted_studies_are_counted_apart_and_few_of_them_cannot_be_had_by_subtraction(
    passed, doubted, texts, sentence
):
    states = _states_of(passed, doubted, 5)
    assert [row["text"] for row in states] == texts
    assert sentence_on_states("44", states) == sentence


def test_without_a_measured_study_there_is_no_state_to_count():
    assert _states_of(0, 0, 5) == []
    assert sentence_on_states("0", []) == "No study was measured."


def test_a_study_that_the_software_doubts_never_looks_like_one_that_passed(report):
    _, _, index = report  # every sixth of the 35 measured studies breaks a rule
    pages = index.parent / "studies"
    page = (pages / "2000006-2.html").read_text()
    assert '<span class="badge state state-doubted">doubted</span>' in page
    assert "Look at the images before using the numbers" in page
    assert '<span class="badge state state-passed">passed</span>' in (pages / "2000001-2.html").read_text()
    assert '<span class="badge state state-set_aside">set aside</span>' in (pages / "2000035-2.html").read_text()
    rows = json.loads((pages / "rows.js").read_text().removeprefix("window.STUDY_TABLE=").rstrip(";\n"))
    states = {row[0]: row[rows["state"]] for row in rows["rows"]}
    assert states["2000006-2"] == "doubted"
    assert states["2000001-2"] == "passed"
    assert states["2000035-2"] == "set aside"
    assert ([*states.values()].count("doubted"), [*states.values()].count("passed")) == (6, 29)
    assert "35 were measured, of which 30 passed and 5 are doubted." in index.read_text()


def test_a_table_of_phenotypes_without_states_still_makes_a_report(tmp_path):
    settings = write_cohort(tmp_path, people=12, images=0)
    path = tmp_path / "cohort" / "tables" / "phenotypes.parquet"
    pd.read_parquet(path).drop(columns="state").to_parquet(path)
    assert "doubted" in render_report(tmp_path / "cohort", settings).read_text()


def test_distributions_leave_out_doubted_studies_unless_they_are_taken_in_and_say_how_many(tmp_path):
    settings = write_cohort(tmp_path, images=0)  # every sixth of the 35 measured studies breaks a rule
    out = read_tables(Cohort(tmp_path / "cohort"), report_inputs(settings))
    assert len(out.described) == 29
    # One study of 40 has slices with a gap, so the counts of the page, 6 among them, are rounded.
    assert "They leave out 5 studies that are doubted." in render_report(tmp_path / "cohort", settings).read_text()
    table = pd.read_csv(tmp_path / "cohort/reports/assets/tables/distributions.csv")
    assert set(table["doubted"]) == {"left_out"}
    assert set(table["n_doubted"]) == {5}
    settings["analysis"]["include_doubted"] = True
    assert len(read_tables(Cohort(tmp_path / "cohort"), report_inputs(settings)).described) == 35
    assert "They take in 5 studies that are doubted." in render_report(tmp_path / "cohort", settings).read_text()


def test_files_of_no_study_are_counted_on_the_page_and_change_it(tmp_path):
    settings = write_cohort(tmp_path, people=12, images=0)
    cohort = Cohort(tmp_path / "cohort")
    assert "part of no study" not in render_report(cohort.root, settings).read_text()
    with open_ledger(cohort.ledger) as ledger:
        left = {f"{k}.mha": ".mha" for k in range(1234)}
        ledger.remember_sources([], forget_others=False, not_taken=left)
    assert not is_current(cohort.root, settings)
    page = render_report(cohort.root, settings).read_text()
    assert '<tr><td>.mha</td><td class="number">1,234</td></tr>' in page
    assert "unpack" not in page
    with open_ledger(cohort.ledger) as ledger:
        ledger.remember_sources([], forget_others=True, not_taken={"a.7z": ".7z", "b.tar": ".tar"})
    page = render_report(cohort.root, settings).read_text()
    assert "ending of their names. 2 are archives that are not opened: unpack, or pack as .zip.</caption>" in page


def test_people_who_withdrew_are_on_no_page_even_before_their_studies_are_deleted(tmp_path):
    settings = write_cohort(tmp_path, people=12, images=0)
    (tmp_path / "withdrawn.csv").write_text("2000001\n")
    settings["withdrawn"] = str(tmp_path / "withdrawn.csv")
    tables = read_tables(Cohort(tmp_path / "cohort"), report_inputs(settings))
    for table in (tables.outcomes, tables.steps, tables.phenotypes):
        assert table["study"].nunique() == 11
    index = render_report(tmp_path / "cohort", settings)
    assert not (index.parent / "studies" / "2000001-2.html").exists()


def test_people_who_left_at_a_join_are_counted_and_small_counts_are_masked():
    flow = pd.DataFrame(
        [
            ("", "studies", "with a row", 44.0),
            ("", "studies", "without a row", 3.0),
            ("", "first visits", "measured", 30.0),
            ("", "first visits", "doubted, left out", 9.0),
            ("", "rows of outcomes", "of a study", 44.0),
            ("", "rows of outcomes", "of no study", 0.0),
            ("heart_failure", "first visits", "with a row", 40.0),
            ("heart_failure", "first visits", "without a row", 7.0),
        ],
        columns=["outcome", "group_by", "step", "n"],
    )
    rows = left_before_analysis(flow, Counts(5))
    assert [row["n"] for row in rows] == ["not shown", "< 5", "30", "9", "40", "7"]
    assert rows[-1]["counted"] == "first visits, heart failure"
    assert left_before_analysis(None, Counts(5)) == []


@pytest.mark.parametrize(
    ("doubted", "n", "sentence"),
    [
        ("left_out", 6.0, " The estimates leave out 6 people whose study is doubted."),
        ("taken_in", 1234.0, " The estimates take in 1,234 people whose study is doubted."),
        ("left_out", np.nan, " The estimates leave out people whose study is doubted (their number is too small "
         "to be shown)."),
        ("left_out", 0.0, " The estimates leave out no person, because no study is doubted."),
    ],
)  # fmt: skip
def test_the_methods_say_what_was_done_with_doubted_people(doubted, n, sentence):
    table = estimates(Texts())["hazards"].assign(doubted=doubted, n_doubted=n)
    assert doubted_sentence({"hazards": table}) == sentence
    assert doubted_sentence({"hazards": estimates(Texts())["hazards"]}) == ""


# figures with nothing to show


def _by_group(**numbers):
    rows = [{"group_by": "overall", "group": "all", "estimate": 1.0}]
    rows += [
        {"group_by": name.split("__")[0], "group": name.split("__")[1], "estimate": n} for name, n in numbers.items()
    ]
    return pd.DataFrame(rows)


def test_groups_are_compared_only_where_two_of_a_grouping_have_numbers():
    assert comparable(_by_group(sex__female=1.0, sex__male=1.2))
    assert not comparable(_by_group(sex__female=1.0, sex__male=np.nan, centre__north=1.1))
    assert not comparable(_by_group(sex__female=np.nan))


def _curves(events_by_group):
    """One outcome: in each group one step of six events a year, as often as told."""
    rows = [
        {"exposure": "lvef_pct", "outcome": "death", "group": group, "years": float(year),
         "n_at_risk": 200.0 - 10 * year, "n_events": 6.0 * min(year, steps), "estimate": 1 - 0.03 * min(year, steps),
         "se": 0.1, "ci_low": 0.4, "ci_high": 1.0, "status": "ok"}
        for group, steps in events_by_group.items()
        for year in range(8)
    ]  # fmt: skip
    return {"survival_curves": pd.DataFrame(rows)}


def test_a_curve_of_one_drop_is_no_figure_of_survival():
    assert survival_panels(_curves({"Q1": 1, "Q2": 1}), 5) == []
    assert survival_panels(_curves({"Q1": 5, "Q2": 1}), 5) == []
    assert len(survival_panels(_curves({"Q1": 5, "Q2": 3}), 5)) == 1


def test_a_report_without_groups_to_compare_says_which_figures_it_leaves_out(tmp_path):
    settings = write_cohort(tmp_path, people=12, images=0)
    path = tmp_path / "cohort/tables/estimates/fairness.parquet"
    table = pd.read_parquet(path)
    male = table["group"] == "male"
    table.loc[male, ["estimate", "ci_low", "ci_high"]] = np.nan
    table.loc[male, "status"] = "suppressed"
    table.to_parquet(path, index=False)
    page = render_report(tmp_path / "cohort", settings).read_text()
    assert 'id="group_cox_age"' not in page
    assert "Hazard ratio per SD: no two groups have enough people or events to be compared." in page


def test_the_caption_of_the_survival_figure_names_the_groups_that_are_drawn(report):
    _, _, index = report
    assert "by quartile of the phenotype with the strongest evidence" in index.read_text()


def test_a_study_with_a_single_frame_has_no_volume_curve():
    curve = {"time_ms": [0.0], "lv_ml": [150.0], "rv_ml": [160.0], "myocardium_ml": [90.0]}
    assert volume_curve(curve, [0.0], 0, None) is None
    two = {"time_ms": [0.0, 400.0], "lv_ml": [150.0, 60.0], "rv_ml": [160.0, np.nan]}
    assert volume_curve(two, [0.0, 400.0], 0, 1) is not None
