"""A gap at common covariates and a gap taken apart, by hand on tables of unequal cells; and who is in which row."""

import numpy as np
import pandas as pd
import pytest

from cmr_models.estimates import NotEstimableError
from cmr_models.fairness import disaggregate
from cmr_models.fairness.standardisation import decompose_gap, standardisation_weights


def _cells(counts: dict[tuple[str, str, str], int]) -> pd.DataFrame:
    rows = [key for key, n in counts.items() for _ in range(n)]
    table = pd.DataFrame(rows, columns=["site", "age", "sex"])
    return table.sample(frac=1, random_state=3)


def test_every_group_gets_the_mix_of_everybody_in_the_cells_that_all_have() -> None:
    table = _cells(
        {
            ("u", "young", "f"): 6, ("u", "old", "f"): 10, ("u", "old", "m"): 4,
            ("v", "young", "f"): 14, ("v", "old", "f"): 5, ("v", "old", "m"): 9, ("v", "young", "m"): 7,
            ("w", "young", "f"): 19,
        }
    )  # fmt: skip
    weight, outside = standardisation_weights(table, "site", ["age", "sex"], minimum=5, smallest_group=20)
    assert weight.index.equals(table.index)
    # Common cells young f (6 of u, 14 of v) and old f (10, 5): 20 and 15 of 35. u has 4 old men, w 19 people.
    by_hand = {
        ("u", "young", "f"): 20 / 35 / (6 / 16), ("u", "old", "f"): 15 / 35 / (10 / 16),
        ("v", "young", "f"): 20 / 35 / (14 / 19), ("v", "old", "f"): 15 / 35 / (5 / 19),
    }  # fmt: skip
    for row, found in zip(table.itertuples(index=False), weight, strict=True):
        if row.site == "w":
            assert np.isnan(found)
        else:
            assert found == pytest.approx(by_hand.get((row.site, row.age, row.sex), 0.0))
    assert outside == pytest.approx(1 - 35 / 55)
    again, _ = standardisation_weights(table, "site", ["age", "sex"], minimum=6, smallest_group=20)
    assert (again[(table["age"] == "old").to_numpy()].dropna() == 0).all()
    lower, _ = standardisation_weights(table, "site", ["age", "sex"], minimum=5, smallest_group=19)
    assert lower[(table["site"] == "w").to_numpy()].tolist() == [1.0] * 19
    for smallest, minimum in ((99, 5), (20, 15)):
        with pytest.raises(NotEstimableError, match="no_overlap"):
            standardisation_weights(table, "site", ["age"], minimum=minimum, smallest_group=smallest)
    missing, _ = standardisation_weights(table.assign(age=None), "site", ["age"], minimum=5, smallest_group=20)
    assert missing[(table["site"] == "u").to_numpy()].tolist() == [1.0] * 20  # unknown is a cell as any other


def _gap(n: int = 60) -> pd.DataFrame:
    rng = np.random.default_rng(4)
    site = np.where(np.arange(n) % 3 == 0, "b", "a")
    table = pd.DataFrame({"site": site, "bmi": rng.normal(25, 3, n) + 2 * (site == "b"), "age": rng.normal(60, 5, n)})
    table = table.assign(sex=rng.choice(["f", "m", "m"], n), copy=2 * table["bmi"] + 1)
    y = 0.5 * table["bmi"] - 0.1 * table["age"] + 2 * (table["sex"] == "f") + 3 * (site == "b") + rng.normal(size=n)
    return pd.concat([table.assign(error=y), table.iloc[:5].assign(site="c", error=99.0)])


BLOCKS = {"size": ["bmi", "copy"], "people": ["age", "sex"]}


def test_the_parts_of_a_gap_are_differences_of_means_by_the_pooled_coefficients() -> None:
    table = _gap()
    found = decompose_gap(table, "error", "site", ("b", "a"), BLOCKS, np.random.default_rng(6), n_bootstrap=40)
    two = table[table["site"] != "c"]

    def parts(rows: pd.DataFrame) -> list[float]:
        b = (rows["site"] == "b").to_numpy(float)
        x = np.column_stack([rows["bmi"], rows["age"], rows["sex"] == "f"]).astype(float)
        coef = np.linalg.lstsq(np.column_stack([np.ones(len(rows)), b, x]), rows["error"], rcond=None)[0]
        apart = (x[b == 1].mean(axis=0) - x[b == 0].mean(axis=0)) * coef[2:]
        total = rows["error"][b == 1].mean() - rows["error"][b == 0].mean()
        return [apart[0], apart[1] + apart[2], coef[1], total]

    expected = parts(two)
    assert found["component"].tolist() == ["size", "people", "model", "total"]
    np.testing.assert_allclose(found["estimate"], expected)
    np.testing.assert_allclose(found["share"], np.array(expected) / expected[3])
    assert set(found["n"]) == {60}
    rng, drawn = np.random.default_rng(6), []
    for _ in range(40):
        sides = [np.flatnonzero(two["site"] == name) for name in "ba"]
        drawn.append(parts(two.iloc[np.concatenate([rng.choice(side, len(side)) for side in sides])]))
    np.testing.assert_allclose(found["se"], np.std(drawn, axis=0, ddof=1))
    low, high = np.quantile(drawn, [0.025, 0.975], axis=0, method="weibull")
    np.testing.assert_allclose(found[["ci_low", "ci_high"]], np.column_stack([low, high]))
    turned = decompose_gap(table, "error", "site", ("a", "b"), BLOCKS, np.random.default_rng(6), n_bootstrap=2)
    np.testing.assert_allclose(turned["estimate"], -np.array(expected))


def test_a_gap_needs_ten_people_a_side_beyond_its_terms_and_blocks_apart() -> None:
    table = _gap()
    for n, fails in ((12, False), (11, True)):
        few = pd.concat([table[table["site"] == "a"], table[table["site"] == "b"].iloc[:n]])
        call = (few, "error", "site", ("b", "a"), {"size": ["bmi"], "age": ["age"]}, np.random.default_rng(0))
        if fails:
            with pytest.raises(NotEstimableError, match="11 people for 2 terms"):
                decompose_gap(*call, n_bootstrap=2)
        else:
            assert len(decompose_gap(*call, n_bootstrap=2)) == 4
    for blocks, message in (
        ({"one": ["bmi"], "two": ["bmi"]}, "belongs to one block"),
        ({"model": ["bmi"]}, "cannot be named"),
        ({"total": ["bmi"]}, "cannot be named"),
    ):
        with pytest.raises(ValueError, match=message):
            decompose_gap(table, "error", "site", ("b", "a"), blocks, np.random.default_rng(0))
    gone = table.assign(error=table["error"].where(np.arange(len(table)) != 4))
    with pytest.raises(ValueError, match="error has 1 missing values"):
        decompose_gap(gone, "error", "site", ("b", "a"), BLOCKS, np.random.default_rng(0))
    none = decompose_gap(
        table.assign(error=1.0), "error", "site", ("b", "a"), BLOCKS, np.random.default_rng(0), n_bootstrap=2
    )
    assert none["share"].isna().all() or (none["estimate"].abs() < 1e-9).all()


def test_rows_of_groups_are_sorted_by_name_after_that_of_everybody() -> None:
    table = pd.DataFrame(
        {"g": ["b", "a", None, "b"], "h": [2, 1, 1, 2], "x": [1.0, 5, 7, 3], "d": [True, False, True, True]}
    )

    def mean(rows: pd.DataFrame) -> dict[str, float | str]:
        if rows["x"].sum() == 5:
            return {"status": "review"}
        return {"estimate": float(rows["x"].mean()) if rows["x"].mean() < 7 else np.nan, "further": 1.0}

    found = disaggregate(mean, table, ["g", ["g", "h"]], events="d")
    assert found[["group_by", "group"]].to_numpy().tolist() == [
        ["overall", "all"], ["g", "a"], ["g", "b"], ["g", "unknown"],
        ["g x h", "a x 1"], ["g x h", "b x 2"], ["g x h", "unknown x 1"],
    ]  # fmt: skip
    assert found["n"].tolist() == [4, 1, 2, 1, 1, 2, 1]
    assert found["n_events"].tolist() == [3, 0, 2, 1, 0, 2, 1]
    np.testing.assert_array_equal(found["estimate"], [4, np.nan, 2, np.nan, np.nan, 2, np.nan])
    assert found["status"].tolist() == ["ok", "review", "ok", "failed", "review", "ok", "failed"]
    assert found["reason"].tolist() == ["", "", "", "undefined", "", "", "undefined"]
    only = disaggregate(mean, table, "g", overall=False)
    assert only["group"].tolist() == ["a", "b", "unknown"]
    assert only["n_events"].isna().all()
    nobody = disaggregate(mean, table[:0], ["g"], events="d")
    assert nobody[["status", "reason", "n"]].to_numpy().tolist() == [["failed", "no_data", 0.0]]
    for by, events, name in ((["z"], None, "z"), (["g"], "e", "e")):
        with pytest.raises(ValueError, match=rf"columns \['{name}'\] are not in the table"):
            disaggregate(mean, table, by, events=events)
