"""Perfusion tables and pages worked out again by plain numpy: segments from the pixels of a file, people from segments.

Maps are drawn at random in place of the fits of kinetics; from there on everything is the pipeline's own. Hearts are of
three slices with oblong pixels and an uneven wall; some pixels have no flow, others one that does not count.
"""

from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from cmr_models.perfusion import chain
from cmr_models.perfusion.series import FirstPass
from tasks.derive import perfusion
from tasks.derive.perfusion import perfusion_chunk
from tasks.derive.perfusion_tables import perfusion_path, write_tables
from tasks.report.counts import Counts
from tasks.report.perfusion_section import perfusion_section
from tasks.report.perfusion_summary import perfusion_summary
from tasks.state.ledger import open_ledger
from tasks.state.store import Cohort, load_tree, publish
from tasks.state.zarr_encoding import encode_tree

STUDIES = {f"p{k}-2": ("rest", "stress") if k else ("rest",) for k in range(7)}
QUANTITIES = ["mbf_ml_min_g", "ps_ml_min_g", "vb_ml_g", "visf_ml_g", "delay_s"]
ARTERIES = {"lad": (1, 2, 7, 8, 13, 14), "rca": (3, 4, 9, 10, 15), "lcx": (5, 6, 11, 12, 16)}
TIME_S = 0.5 * np.arange(40)
BLOOD = 5 * (np.clip(TIME_S - 4, 0, None) / 3) ** 3 * np.exp(3 - np.clip(TIME_S - 4, 0, None)) + 0.4 * (TIME_S > 10)
OK, OUTSIDE, AT_BOUND, POOR_FIT = 0, 1, 5, 7


def _hearts() -> np.ndarray:
    """Labels of three slices: 1 RV, 2 wall, 3 pool, smaller towards the apex."""
    rows, cols = np.indices((64, 60))
    planes = []
    for k in range(3):
        radius, angle = np.hypot(rows - 31, cols - 29), np.arctan2(rows - 31, cols - 29)
        pool, wall = 12 - 2.5 * k, 20 - 2.5 * k + np.sin(2 * angle)
        plane = np.where(radius < pool, 3, np.where(radius < wall, 2, 0))
        plane[(radius >= wall) & (radius < wall + 6) & (cols < 29 - pool)] = 1
        planes.append(plane)
    return np.array(planes, np.uint8)


def _view(n: int) -> xr.Dataset:
    frames = np.full((40, 3, 64, 60), n + 1, np.uint16)
    return xr.Dataset(
        {
            "intensity": (("frame", "slice", "row", "col"), frames),
            "pixel_mm": ("axis", np.array([2.0, 1.6])),
            "row_dir": (("slice", "xyz"), np.tile([0.0, 1, 0], (3, 1))),
            "col_dir": (("slice", "xyz"), np.tile([0.0, 0, -1], (3, 1))),
        }
    )


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Cohort:
    cohort, rng, labels = Cohort(tmp_path_factory.mktemp("perfused")), np.random.default_rng(4), _hearts()
    for k, (study, states) in enumerate(STUDIES.items()):
        tree = xr.DataTree.from_dict({f"/perfusion_{state}": _view(k) for state in states})
        tree.attrs.update(key="s")
        publish(encode_tree(tree), cohort.study(study))

    def quantify(curves: Any, *_: Any, **__: Any) -> xr.Dataset:
        grid = ("row", "col")
        shape = curves.shape[:2]
        status = rng.choice([OK, OUTSIDE, AT_BOUND, POOR_FIT], shape, p=[0.7, 0.1, 0.1, 0.1]).astype(np.uint8)
        maps = {name: (grid, rng.lognormal(0.2, 0.5, shape)) for name in QUANTITIES}
        maps["mbf_ml_min_g"][1][status == OUTSIDE] = np.nan
        return xr.Dataset({**maps, "status": (grid, status)})

    def correct_motion(view: xr.Dataset, _: Any) -> tuple[FirstPass, list[None]]:
        return FirstPass(np.moveaxis(view["intensity"].values, 0, -1).astype(np.float32), TIME_S), [None] * 3

    with pytest.MonkeyPatch.context() as patched, open_ledger(cohort.ledger) as ledger:
        patched.setattr("cmr_models.perfusion.quantify", quantify)
        patched.setattr(perfusion, "models", dict)
        for name, given in {
            "correct_motion": correct_motion, "_label": lambda *_: labels, "shared_grid": lambda _: None,
            "ventricle_motion": lambda *_: None, "_input": lambda *_: (BLOOD, labels[0] == 3),
        }.items():  # fmt: skip
            patched.setattr(chain, name, given)
        units = [{"study": study, "key": f"k{study}", "study_key": "s"} for study in STUDIES]
        ledger.record(perfusion_chunk(units, str(cohort.root), {}))
        assert write_tables(ledger, cohort) == len(STUDIES)
    return cohort


@pytest.fixture(scope="module")
def segments(cohort: Cohort) -> pd.DataFrame:
    return pd.read_parquet(cohort.tables / "perfusion_segments.parquet")


@pytest.fixture(scope="module")
def people(cohort: Cohort) -> pd.DataFrame:
    return pd.read_parquet(perfusion_path(cohort)).set_index("study")


def _inner(wall: np.ndarray) -> np.ndarray:
    """Pixels of the wall whose four neighbours are wall, by shifting."""
    padded = np.pad(wall, ((0, 0), (1, 1), (1, 1)))
    shifts = ((0, 1), (2, 1), (1, 0), (1, 2))
    rows, cols = wall.shape[1:]
    return wall & np.all([padded[:, r : r + rows, c : c + cols] for r, c in shifts], axis=0)


@pytest.mark.parametrize("study", ["p0-2", "p3-2"])
def test_numbers_of_segments_are_those_of_their_pixels_that_count(
    cohort: Cohort, segments: pd.DataFrame, study: str
) -> None:
    tree = load_tree(cohort.prediction("perfusion", study))
    compared = 0
    for state in STUDIES[study]:
        maps = tree[f"perfusion_{state}"]
        inside, status = maps["segment"].values, maps["status"].values
        counted = _inner(maps["label"].values == 2) & np.isin(status, [OK, AT_BOUND])
        for quantity in QUANTITIES:
            values = maps[quantity].values
            for layer, of_layer in {"all": inside > 0, "endo": maps["layer"] == 1, "epi": maps["layer"] == 2}.items():
                for number in range(1, 17):
                    pixels = values[(inside == number) & np.asarray(of_layer) & counted & np.isfinite(values)]
                    row = segments.query("study == @study and state == @state and quantity == @quantity")
                    row = row[(row["segment"] == number) & (row["layer"] == layer)]
                    assert row["pixels"].tolist() == ([pixels.size] if pixels.size else [])
                    if pixels.size < 4:
                        assert row["mean"].isna().all()
                        continue
                    pixels = np.sort(pixels.astype(float))
                    half = pixels.size // 2
                    middle = pixels[half] if pixels.size % 2 else (pixels[half - 1] + pixels[half]) / 2
                    spread = np.sqrt(((pixels - pixels.mean()) ** 2).sum() / (pixels.size - 1))
                    got = row[["mean", "median", "sd", "min", "max"]].to_numpy()[0]
                    np.testing.assert_allclose(got, [pixels.mean(), middle, spread, pixels[0], pixels[-1]], atol=2e-5)
                    compared += 1
    assert compared > 150 * len(STUDIES[study])


def _flow(segments: pd.DataFrame, study: str, state: str, layer: str, quantity: str = "mbf_ml_min_g") -> pd.DataFrame:
    rows = segments[(segments["study"] == study) & (segments["state"] == state) & (segments["layer"] == layer)]
    return rows[rows["quantity"] == quantity].set_index("segment")


def _pooled(rows: pd.DataFrame) -> float:
    """Mean of medians by pixels."""
    return float((rows["median"] * rows["pixels"]).sum() / rows["pixels"].sum())


def test_numbers_of_people_are_those_of_their_segments(segments: pd.DataFrame, people: pd.DataFrame) -> None:
    for study, states in STUDIES.items():
        row, flow = people.loc[study], {}
        for state in states:
            flow[state] = whole = _flow(segments, study, state, "all")
            assert len(whole) == 16
            for quantity in QUANTITIES:
                name, _, unit = quantity.partition("_")
                pooled = _pooled(_flow(segments, study, state, "all", quantity))
                assert row[f"{name}_{state}_{unit}"] == pytest.approx(pooled, abs=2e-5)
            for artery, members in ARTERIES.items():
                expected = _pooled(whole[whole.index.isin(members)])
                assert row[f"mbf_{state}_{artery}_ml_min_g"] == pytest.approx(expected, abs=2e-5)
            assert row[f"mbf_{state}_lowest_ml_min_g"] == pytest.approx(whole["median"].min(), abs=2e-5)
            inner, outer = (_flow(segments, study, state, layer)["median"] for layer in ("endo", "epi"))
            ratio = np.sort((inner / outer).dropna())
            middle = (ratio[(len(ratio) - 1) // 2] + ratio[len(ratio) // 2]) / 2
            assert row[f"mbf_{state}_endo_epi_ratio"] == pytest.approx(middle, abs=5e-5)
            assert row[f"aif_{state}_peak_mmol_l"] == pytest.approx(BLOOD.max(), rel=0.02)
        if len(states) == 1:
            assert row[["mpr", "mpr_lad", "mpr_lowest", "mbf_stress_ml_min_g"]].isna().all()
            continue
        assert row["mpr"] == pytest.approx(_pooled(flow["stress"]) / _pooled(flow["rest"]), abs=5e-5)
        for artery, members in ARTERIES.items():
            stress, rest = (_pooled(flow[s][flow[s].index.isin(members)]) for s in ("stress", "rest"))
            assert row[f"mpr_{artery}"] == pytest.approx(stress / rest, abs=5e-5)
        assert row["mpr_lowest"] == pytest.approx((flow["stress"]["median"] / flow["rest"]["median"]).min(), abs=5e-5)


def test_the_page_of_a_study_has_its_segments_and_numbers(
    cohort: Cohort, segments: pd.DataFrame, people: pd.DataFrame
) -> None:
    page = perfusion_section(cohort, "p3-2")
    assert page is not None
    stress, rest = (_flow(segments, "p3-2", state, "all")["median"].sort_index() for state in ("stress", "rest"))
    for drawn, values in zip(page["bulls_eyes"], (stress, rest, stress / rest), strict=True):
        assert [float(sector["text"]) for sector in drawn["sectors"]] == pytest.approx(values.tolist(), abs=0.0501)
    row = people.loc["p3-2"]
    places = {"Whole wall": "", "LAD territory": "_lad", "RCA territory": "_rca", "LCx territory": "_lcx",
              "Lowest segment": "_lowest"}  # fmt: skip
    cells = {line["title"]: line for line in page["numbers"]}
    assert page["columns"] == ["Stress", "Rest"]
    for title, place in places.items():
        assert cells[title]["cells"] == [f"{row[f'mbf_{state}{place}_ml_min_g']:.2f}" for state in ("stress", "rest")]
        assert cells[title]["reserve"] == f"{row[f'mpr{place}']:.2f}"
    ratios = [f"{row[f'mbf_{state}_endo_epi_ratio']:.2f}" for state in ("stress", "rest")]
    assert cells["Inner to outer half, ratio"]["cells"] == ratios


def test_the_page_to_publish_has_the_means_and_spreads_of_people(cohort: Cohort, people: pd.DataFrame) -> None:
    found = perfusion_summary(pd.read_parquet(perfusion_path(cohort)), Counts(1))
    assert found is not None
    assert (found["n"], found["measured"]) == ("7", "7")
    by_title = {row["title"]: row for row in found["rows"]}
    shown = {
        "Myocardial blood flow at rest": "mbf_rest_ml_min_g", "Myocardial blood flow at stress": "mbf_stress_ml_min_g",
        "Myocardial perfusion reserve": "mpr", "Lowest myocardial perfusion reserve of a segment": "mpr_lowest",
    }  # fmt: skip
    for title, name in shown.items():
        values = people[name].dropna().to_numpy()
        mean = values.sum() / len(values)
        sd = np.sqrt(((values - mean) ** 2).sum() / (len(values) - 1))
        row = by_title[title]
        assert (row["n"], row["mean"], row["sd"]) == (str(len(values)), f"{mean:.2f}", f"{sd:.2f}")
