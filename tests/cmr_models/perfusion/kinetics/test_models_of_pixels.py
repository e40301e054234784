"""What each model asks of least squares and makes of the answer, with the answer written by hand."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from cmr_models.aif.curve_features import features
from cmr_models.perfusion.kinetics import btex, btex_fit, btex_maps, fermi, two_compartment
from cmr_models.perfusion.kinetics.btex_curves import BtexCurves, _table
from cmr_models.perfusion.kinetics.btex_fit import Settings, _fit_from_dictionary, dictionary, region_problem
from cmr_models.perfusion.kinetics.differences import LinearModel
from cmr_models.perfusion.kinetics.least_squares import Fit, Problem, effective_noise

TIMES = np.arange(0, 30, 0.5)
BOLUS = 5 * (np.clip(TIMES - 2, 0, None) / 3) ** 3 * np.exp(3 - np.clip(TIMES - 2, 0, None))
BOLUS += 1.5 * np.exp(-(((TIMES - 17) / 3) ** 2))  # recirculation


def _answer(rows: list[list[float]], bounds: list[list[bool]], converged: list[bool]) -> Fit:
    """A fit whose covariance has 0.01, 0.04, 0.09 ... on its diagonal."""
    n, p = len(rows), len(rows[0])
    parameters = torch.tensor(rows, dtype=torch.float64)
    covariance = torch.diag((0.1 * torch.arange(1, p + 1, dtype=torch.float64)) ** 2).expand(n, p, p)
    residual = 0.5 + torch.arange(n, dtype=torch.float64)
    return Fit(parameters, covariance, 2 * residual, residual, torch.tensor(converged), torch.tensor(bounds))


class _Asked:
    """Stands for ``fit``: keeps what it was asked, and gives one answer."""

    def __init__(self, answer: Fit) -> None:
        self.answer, self.calls = answer, list[dict[str, Any]]()

    def __call__(
        self, model: Any, curves: Tensor, start: Tensor, noise_sd: Tensor, problem: Problem, *, steps: int
    ) -> Fit:
        self.calls.append({"model": model, "curves": curves, "start": start, "noise": noise_sd, "problem": problem,
                           "steps": steps})  # fmt: skip
        return self.answer


def _rows(problem: Problem) -> dict[str, list[float]]:
    return {name: getattr(problem, name).tolist() for name in ("low", "high", "prior", "prior_sd")}


def test_fermi_asks_for_the_first_pass_within_its_bounds_and_gives_flow_and_delay(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rows = [[math.log(2.0), 0.0, 3.0, 0.4], [math.log(0.5), 0.0, 15.0, 0.0]]
    asked = _Asked(_answer(rows, [[False, False, False, True], [True, False, True, False]], [True, False]))
    monkeypatch.setattr(fermi, "fit", asked)
    curves = np.outer([1.0, 0.2], BOLUS)
    found = fermi.fermi_maps(curves, BOLUS, 0.5, 0.4, "cpu")
    of_input = features(BOLUS, 0.5)
    last = round((of_input["foot_s"] + of_input["first_pass_s"] + 2.0) / 0.5) + 1  # two seconds after the first pass
    assert 20 < last < 50
    assert [tuple(call["curves"].shape) for call in asked.calls] == [(2, last), (2, last)]
    assert [call["steps"] for call in asked.calls] == [20, 30]
    # flow 0.05 to 10 mL/min/g, rate 0.05 to 5 1/s, shoulder to 15 s, delay to 3 s; flow has no prior
    assert _rows(asked.calls[0]["problem"]) == {
        "low": [-3, -3, 0, 0], "high": [2.3, 1.6, 15, 3], "prior": [0.7, -1, 3, 0.5], "prior_sd": [math.inf, 1, 3, 0.3],
    }  # fmt: skip
    starts = [[-0.2, -1.5, 2.0, 0.5], [0.7, -0.7, 4.0, 0.5], [1.2, 0.0, 2.0, 0.3]]
    assert all(row in starts for row in asked.calls[0]["start"].tolist())
    left = asked.calls[0]["curves"] - asked.calls[0]["model"](asked.calls[0]["start"])[0]
    torch.testing.assert_close(asked.calls[0]["noise"], effective_noise(left, 4))
    assert asked.calls[1]["start"].tolist() == rows
    assert asked.calls[1]["noise"].tolist() == [1, 3]  # what the first round left
    assert found.values["mbf_ml_min_g"].tolist() == pytest.approx([2, 0.5])
    assert found.values["mbf_sd_ml_min_g"].tolist() == pytest.approx([0.2, 0.05])
    assert found.values["delay_s"].tolist() == [0.4, 0]
    assert found.values["delay_sd_s"].tolist() == pytest.approx([0.4, 0.4])
    assert found.residual.tolist() == [0.5, 1.5]
    assert found.converged.tolist() == [True, False]
    assert found.at_bound.tolist() == [False, True]  # only the flow's bound counts


def test_a_short_series_is_fitted_to_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = _Asked(_answer([[0.0, 0.0, 3.0, 0.4]], [[False] * 4], [True]))
    monkeypatch.setattr(fermi, "fit", asked)
    fermi.fermi_maps(BOLUS[None, :18], BOLUS[:18], 0.5, 0.4, "cpu")
    assert asked.calls[0]["curves"].shape == (1, 18)


def test_two_compartments_ask_for_plasma_and_give_blood(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [[*np.log([1.2, 0.06, 1.0, 0.2]), 0.4], [*np.log([0.6, 0.03, 2.0, 0.3]), 3.0]]
    bounds = [[False, False, True, False, False], [False, False, False, False, True]]
    asked = _Asked(_answer(rows, bounds, [True, True]))
    monkeypatch.setattr(two_compartment, "fit", asked)
    found = two_compartment.two_compartment_maps(np.outer([1.0, 0.3], BOLUS), BOLUS, 0.5, 0.4, "cpu")
    problem = _rows(asked.calls[0]["problem"])
    assert np.exp(problem["low"][:4]).tolist() == pytest.approx([0.03, 0.01, 0.05, 0.03])
    assert np.exp(problem["high"][:4]).tolist() == pytest.approx([6, 0.3, 5, 0.6])
    assert np.exp(problem["prior"][:4]).tolist() == pytest.approx([1.2, 0.053, 1, 0.212])
    assert [problem[name][4] for name in ("low", "high", "prior")] == [0, 3, 0.5]
    assert problem["prior_sd"] == [math.inf, 0.4, 0.5, 0.3, 0.3]
    starts = asked.calls[0]["start"].numpy()
    assert set(np.round(np.exp(starts[:, 1]), 6)) <= {0.03, 0.06}
    assert set(np.round(np.exp(starts[:, 2]), 6)) <= {0.5, 1.5}
    assert set(np.round(np.exp(starts[:, 3]), 6)) <= {0.15, 0.3}
    assert set(starts[:, 4]) <= {0.0, 0.5, 1.0}
    left = asked.calls[0]["curves"] - asked.calls[0]["model"](asked.calls[0]["start"])[0]
    torch.testing.assert_close(asked.calls[0]["noise"], effective_noise(left, 5))
    assert [call["steps"] for call in asked.calls] == [20, 30]
    assert (asked.calls[1]["start"].tolist(), asked.calls[1]["noise"].tolist()) == (rows, [1, 3])
    # flow and volume of plasma over 0.6 are those of blood; the others are as they are; a log's deviation is a share
    expected = {
        "mbf_ml_min_g": [2, 1], "vb_ml_g": [0.1, 0.05], "ps_ml_min_g": [1, 2], "visf_ml_g": [0.2, 0.3],
        "mbf_sd_ml_min_g": [0.2, 0.1], "vb_sd_ml_g": [0.02, 0.01], "ps_sd_ml_min_g": [0.3, 0.6],
        "visf_sd_ml_g": [0.08, 0.12], "delay_s": [0.4, 3], "delay_sd_s": [0.5, 0.5],
    }  # fmt: skip
    assert set(found.values) == set(expected)
    for name, values in expected.items():
        assert found.values[name].tolist() == pytest.approx(values), name
    assert found.at_bound.tolist() == [True, False]  # the delay's bound does not count
    assert found.residual.tolist() == [0.5, 1.5]


def test_an_even_input_gives_plasma_its_concentration(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = _Asked(_answer([[0.0] * 5], [[False] * 5], [True]))
    monkeypatch.setattr(two_compartment, "fit", asked)
    two_compartment.two_compartment_maps(BOLUS[None], BOLUS, 0.5, 0.4, "cpu")
    model = asked.calls[0]["model"]
    same = LinearModel(two_compartment.exchange_integral, BOLUS / 0.6, 0.5, "cpu")  # plasma holds what blood holds
    torch.testing.assert_close(model(asked.calls[0]["start"])[0], same(asked.calls[0]["start"])[0])


def test_maps_of_btex_are_exponentials_and_a_logs_deviation_is_a_share(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [[*np.log([2.0, 0.1, 1.0, 0.2]), 0.4], [*np.log([1.0, 0.05, 0.5, 0.3]), 3.0]]
    bounds = [[False, True, False, False, False], [False, False, False, False, True]]
    seen: dict[str, Any] = {}

    def fit_btex(curves: Any, model: Any, settings: Any, device: str, **given: Any) -> tuple[Fit, float]:
        seen.update(settings=settings, device=device, **given)
        return _answer(rows, bounds, [False, True]), 0.7

    monkeypatch.setattr(btex_maps, "fit_btex", fit_btex)
    means, muscle = np.zeros((2, 60)), np.ones((1, 60))
    found = btex_maps.btex_maps(np.zeros((2, 60)), BOLUS, 0.5, 0.4, "cpu", means=means, muscle_means=muscle)
    assert seen["settings"] == Settings()
    assert seen["means"] is means
    assert seen["muscle_means"] is muscle
    expected = {
        "mbf_ml_min_g": [2, 1], "vb_ml_g": [0.1, 0.05], "ps_ml_min_g": [1, 0.5], "visf_ml_g": [0.2, 0.3],
        "mbf_sd_ml_min_g": [0.2, 0.1], "vb_sd_ml_g": [0.02, 0.01], "ps_sd_ml_min_g": [0.3, 0.15],
        "visf_sd_ml_g": [0.08, 0.12], "delay_s": [0.4, 3], "delay_sd_s": [0.5, 0.5],
    }  # fmt: skip
    assert set(found.values) == set(expected)
    for name, values in expected.items():
        assert found.values[name].tolist() == pytest.approx(values), name
    assert found.at_bound.tolist() == [True, False]
    assert found.converged.tolist() == [False, True]
    assert (found.residual.tolist(), found.region_delay_s) == ([0.5, 1.5], 0.7)
    told = Settings(prior=(1.0, 0.1, 1.0, 0.2, 0.5))
    btex_maps.btex_maps(np.zeros((2, 60)), BOLUS, 0.5, 0.4, "cpu", told)
    assert seen["settings"] is told


# BTEX: starts and priors


def test_bounds_and_priors_of_btex_are_those_of_the_decision_record() -> None:
    rows = _rows(Settings().problem("cpu"))
    assert np.exp(rows["low"][:4]).tolist() == pytest.approx([0.05, 0.02, 0.1, 0.05])
    assert np.exp(rows["high"][:4]).tolist() == pytest.approx([8, 0.25, 4, 0.6])
    assert np.exp(rows["prior"][:4]).tolist() == pytest.approx([2, 0.092, 1, 0.212], rel=1e-6)
    assert [rows[name][4] for name in ("low", "high", "prior")] == pytest.approx([-0.1, 3, 0.5])
    assert rows["prior_sd"] == pytest.approx([1, 0.1, 0.2, 0.1, 0.1])
    assert Settings().population_sd == (1.0, 0.25, 0.35, 0.2, 0.5)
    assert Settings().pixel_sd == (0.1, 0.08, 0.15, 0.07, 0.05)
    held = _rows(Settings().fixing(0.8).problem("cpu"))
    assert [held[name][4] for name in ("low", "high", "prior")] == pytest.approx([0.8] * 3)
    assert held["low"][:4] == rows["low"][:4]


MODEL = BtexCurves(BOLUS, 0.5, 0.42)


def test_the_dictionary_holds_every_combination_with_its_curve() -> None:
    points, curves = dictionary(MODEL, "cpu")
    assert points.shape == (16 * 3 * 2 * 3 * 4, 5)
    natural = torch.cat([points[:, :4].exp(), points[:, 4:]], 1).numpy()
    assert [len(set(np.round(column, 4))) for column in natural.T] == [16, 3, 2, 3, 4]
    assert natural.min(axis=0).tolist() == pytest.approx([0.15, 0.05, 0.5, 0.12, 0])
    assert natural.max(axis=0).tolist() == pytest.approx([7, 0.15, 1.2, 0.38, 1.75])
    torch.testing.assert_close(curves[5], MODEL(points[5:6])[0][0])


def test_a_fit_begins_at_the_nearest_entry_and_a_tenth_of_what_it_leaves(monkeypatch: pytest.MonkeyPatch) -> None:
    points, entries = dictionary(MODEL, "cpu")
    asked = _Asked(_answer([[0.0] * 5] * 3, [[False] * 5] * 3, [True] * 3))
    monkeypatch.setattr(btex_fit, "fit", asked)
    measured = entries[[100, 7, 1000]] * torch.tensor([[1.02], [0.99], [1.0]])
    distances = ((measured[:, None] - entries[None]) ** 2).sum(2)
    _fit_from_dictionary(measured, MODEL, Settings().problem("cpu"), (points, entries))
    assert asked.calls[0]["start"].tolist() == points[distances.argmin(1)].tolist()
    left = measured - MODEL(asked.calls[0]["start"])[0]
    torch.testing.assert_close(asked.calls[0]["noise"], 0.1 * effective_noise(left, 5).clamp_min(1e-6))
    assert [call["steps"] for call in asked.calls] == [8, 6, 12]
    assert asked.calls[2]["noise"].tolist() == [1, 3, 5]


@pytest.mark.parametrize(
    ("change", "residual", "n"),
    [
        ({}, 0.0, 12),
        ({"mbf": 0.19}, 0.0, 10),
        ({"mbf": 0.21}, 0.0, 12),
        ({"vb": 0.21}, 0.0, 10),
        ({"vb": 0.19}, 0.0, 12),
        ({"visf": 0.07}, 0.0, 10),
        ({"visf": 0.09}, 0.0, 12),
        ({}, 0.21, 10),
        ({}, 0.19, 12),
    ],
)
def test_the_prior_is_learnt_from_curves_that_fit_muscle(
    monkeypatch: pytest.MonkeyPatch, change: dict[str, float], residual: float, n: int
) -> None:
    """Two of twelve curves are changed; residuals are shares of the peak, which is 1."""
    natural = {"mbf": 1.0, "vb": 0.1, "ps": 1.0, "visf": 0.2}
    rows = [[*np.log(list((natural | (change if k < 2 else {})).values())), 0.5] for k in range(12)]
    answer = _answer(rows, [[False] * 5] * 12, [True] * 12)
    answer = answer._replace(residual=torch.tensor([residual] * 2 + [0.0] * 10, dtype=torch.float64))
    seen: dict[str, Any] = {}

    def learn_prior(_: Any, curves: Tensor, first: Fit, problem: Problem, population_sd: Tensor) -> Problem:
        seen.update(curves=curves, first=first, sd=population_sd)
        return problem

    def first_fit(measured: Tensor, model: Any, problem: Problem, grid: Any) -> Fit:
        seen["wide"] = problem.prior_sd.tolist()
        return answer

    monkeypatch.setattr(btex_fit, "learn_prior", learn_prior)
    monkeypatch.setattr(btex_fit, "_fit_from_dictionary", first_fit)
    curves = torch.zeros(12, 60)
    curves[:, 30] = 1.0
    curves[:, 0] = torch.arange(12) / 100
    region_problem(curves, MODEL, Settings(), dictionary(MODEL, "cpu"))
    assert seen["curves"][:, 0].tolist() == pytest.approx(list(np.arange(12 - n, 12) / 100))
    assert len(seen["first"].parameters) == n
    assert seen["wide"] == pytest.approx([1, 0.25, 0.4, 0.25, 0.5])
    assert seen["sd"].tolist() == pytest.approx([1, 0.25, 0.35, 0.2, 0.5])
    curves[:] = 0.0  # without a peak nothing fits; fewer than ten are none
    region_problem(curves, MODEL, Settings(), dictionary(MODEL, "cpu"))
    assert len(seen["curves"]) == 0


def test_of_many_curves_512_are_looked_at_from_the_first_to_the_last(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: dict[str, Tensor] = {}

    def first_fit(measured: Tensor, *_: Any) -> Fit:
        seen["curves"] = measured
        n = len(measured)
        return _answer([[0.0] * 5] * n, [[False] * 5] * n, [True] * n)

    monkeypatch.setattr(btex_fit, "_fit_from_dictionary", first_fit)
    monkeypatch.setattr(btex_fit, "learn_prior", lambda *given: given[3])
    curves = torch.arange(1030.0)[:, None].expand(1030, 60)
    region_problem(curves, MODEL, Settings(), dictionary(MODEL, "cpu"))
    assert (len(seen["curves"]), float(seen["curves"][0, 0]), float(seen["curves"][-1, 0])) == (512, 0, 1029)
    region_problem(curves[:7], MODEL, Settings(), dictionary(MODEL, "cpu"))
    assert seen["curves"][:, 0].tolist() == list(range(7))


def test_the_table_of_curves_reaches_to_64_escapes_and_81_of_the_clock_in_steps_of_their_roots() -> None:
    table = _table()
    assert table.shape == (3, 401, 451)  # roots to 8 and 9 in steps of 0.02
    for name, values in zip(("stay", "retained", "balanced"), table, strict=True):
        assert values[100, 150] == pytest.approx(float(getattr(btex, name)(4.0, 9.0)), rel=1e-9)
    kept = MODEL._look_up(torch.tensor([[4.0, 100.0]]), torch.tensor([[9.0, 100.0]]))[1][0].tolist()
    assert kept == pytest.approx([float(btex.retained(4.0, 9.0)), float(btex.retained(64.0, 81.0))], abs=1e-4)
