"""An attacker on a release: takes the published files of a cohort, and says which small counts and values they tell.

Nothing of the package takes part. Every published count is a linear statement about unknown counts of people; integer
programmes give the least and the most that each hidden count can be. Means times counts are sums, of which differences
are the sums of those who are not shown.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.optimize import Bounds, LinearConstraint, milp

_ROUNDED = "people on this page are rounded to multiples"
_BINNED = 80  # with fewer people a mean is drawn instead of a distribution
AT_RISK = ("cox_age", "harrell_phenotype", "harrell_adjusted", "uno_adjusted")


@dataclass(frozen=True)
class Finding:
    """Something small that the release tells: a count, or the value of a single person."""

    what: str
    low: float
    high: float


@dataclass
class Puzzle:
    """Unknown counts, and what is known of their sums."""

    limits: dict[str, list[float]] = field(default_factory=dict)
    rows: list[tuple[dict[str, float], float, float]] = field(default_factory=list)

    def know(self, name: str, low: float, high: float) -> None:
        limit = self.limits.setdefault(name, [0.0, 1e6])
        self.limits[name] = [max(limit[0], low), min(limit[1], high)]

    def add(self, weights: Mapping[str, float], low: float, high: float) -> None:
        for name in weights:
            self.know(name, 0.0, 1e6)
        self.rows.append((dict(weights), low, high))

    def range(self, weights: Mapping[str, float]) -> tuple[float, float] | None:
        """The least and the most of a sum of counts; None if the statements contradict each other."""
        place = {name: k for k, name in enumerate(self.limits)}
        goal = np.zeros(len(place))
        for name, weight in weights.items():
            goal[place[name]] = weight
        matrix = np.zeros((len(self.rows), len(place)))
        for k, (row, _, _) in enumerate(self.rows):
            for name, weight in row.items():
                matrix[k, place[name]] += weight
        bounds = Bounds(*np.array(list(self.limits.values())).T)
        rows = [LinearConstraint(matrix, *np.array([(a, b) for _, a, b in self.rows]).T)] if self.rows else []
        ends = []
        for sign in (1, -1):
            found = milp(sign * goal, integrality=np.ones(len(goal)), bounds=bounds, constraints=rows)
            if found.x is None:
                return None
            ends.append(round(float(goal @ found.x)))
        return float(ends[0]), float(ends[1])


def recover(cohort: Path, minimum: int = 5) -> list[Finding]:
    """Everything small that the published files of a cohort tell."""
    tables = {path.stem: pd.read_parquet(path) for path in sorted((cohort / "tables/estimates").glob("*.parquet"))}
    found = [*_from_estimates(tables, minimum), *_from_curves(tables, minimum), *_from_spreads(tables)]
    page = cohort / "reports/index.html"
    if page.exists():
        found += _from_flow(page.read_text(), minimum)
        found += _from_distributions(cohort / "reports/assets", tables, page.read_text(), minimum)
        found += _from_bins(cohort / "reports/assets", page.read_text(), minimum)
        found += _from_perfusion(page.read_text(), minimum)
        found += _from_quality(cohort / "reports/assets/tables/quality.csv", page.read_text(), minimum)
    return [*found, *_from_evaluations(cohort, tables, minimum)]


def recover_between(before: Path, after: Path, minimum: int = 5) -> list[Finding]:
    """What two releases of a cohort tell of those who are in one of them alone: from tables and from pages."""
    found = []
    for path in sorted((before / "tables/estimates").glob("*.parquet")):
        if path.stem != "survival_curves":
            tables = [pd.read_parquet(folder / "tables/estimates" / path.name) for folder in (before, after)]
            found += [*between_releases(*tables, minimum), *values_between(*tables)]
    pages = [_page_numbers(folder / "reports", minimum) for folder in (before, after)]
    for name in sorted(set(pages[0]) & set(pages[1])):
        first, second = pages[0][name], pages[1][name]
        few = sorted((first[0] - second[1], first[1] - second[0]), key=abs)
        if (first[0] > second[1] or first[1] < second[0]) and pinned(abs(few[0]), abs(few[1]), minimum):
            found.append(Finding(f"page, {name}", *few))
    return found


def _page_numbers(reports: Path, minimum: int) -> dict[str, tuple[float, float]]:
    """Boxes of the flow, the facts at the top, and people of Table 1, between their limits."""
    page = (reports / "index.html").read_text()
    base = float(minimum) if _ROUNDED in page else 1.0
    texts = dict(re.findall(r'<div class="box"><b>([^<]*)</b>n (?:= )?([^<\n]*)', page))
    table = reports / "assets/tables/distributions.csv"
    if table.exists():
        texts |= {
            f"{row['phenotype']} {row['group']}": row["n"] for row in pd.read_csv(table, dtype=str).to_dict("records")
        }
    numbers = {name: _number(text.strip()) for name, text in texts.items()}
    return {name: window(n, base) for name, n in numbers.items() if n is not None}


def pinned(low: float, high: float, minimum: int) -> bool:
    """Whether a count is known to be small, and to be one of two numbers at most."""
    return 1 <= low <= high < minimum and high - low < 2


def window(shown: float, base: float) -> tuple[float, float]:
    """Counts that are rounded to ``shown``; what is under the base is hidden, so 0 is 0 and 5 at least 5."""
    if base <= 1 or shown == 0:
        return shown, shown
    values = range(int(max(shown - base, base)), int(shown + base) + 1)
    rounded = [n for n in values if math.floor(n / base + 0.5) * base == shown]
    return float(min(rounded)), float(max(rounded))


# tables of estimates


def _from_estimates(tables: Mapping[str, pd.DataFrame], minimum: int) -> Iterator[Finding]:
    rows = pd.concat([table for name, table in tables.items() if name != "survival_curves"])
    rows = rows[(rows["measure"] != "gap") & (rows["scale"] != "per_unit")].copy()
    rows["population"] = ["at risk" if m in AT_RISK else "asked" if m == "logistic" else m for m in rows["model"]]
    base = float(rows["rounded_to"].max()) if "rounded_to" in rows else 1.0
    for (exposure, outcome), pair in rows.groupby(["exposure", "outcome"]):
        for group_by in sorted(set(pair["group_by"]) - {"overall"}):
            chosen = pair[pair["group_by"].isin(("overall", group_by))]
            for finding in _from_grouping(chosen, base, minimum):
                yield Finding(f"{exposure} {outcome} {group_by}: {finding.what}", finding.low, finding.high)
    yield from _from_means(rows[rows["measure"] == "mean"], base)


def _from_grouping(rows: pd.DataFrame, base: float, minimum: int) -> Iterator[Finding]:
    for trusting in (True, False):  # that a row called small has a small count of people, or of events
        puzzle, targets = _puzzle(rows, base, minimum, trusting=trusting)
        ranges = {what: puzzle.range(weights) for what, weights in targets.items()}
        if None not in ranges.values():
            yield from (Finding(what, *r) for what, r in ranges.items() if r and pinned(*r, minimum))
            return


def _puzzle(
    rows: pd.DataFrame, base: float, minimum: int, *, trusting: bool
) -> tuple[Puzzle, dict[str, dict[str, float]]]:
    puzzle, targets, sums = Puzzle(), {}, {}
    for row in rows.to_dict("records"):
        place = f"{row['population']}/{row['group_by']}/{row['group']}"
        n, events = f"{place}/n", f"{place}/events"
        puzzle.add({n: 1.0, events: -1.0}, 0, 1e6)
        if not math.isnan(row["n"]):
            puzzle.know(n, *window(row["n"], base))
        if not math.isnan(row["n_events"]):
            puzzle.know(events, *window(row["n_events"], base))
        if trusting and row["reason"] == "small_cell":
            _trust(puzzle, row, n, events, minimum)
        targets |= {n: {n: 1.0}, events: {events: 1.0}, f"{place}/without": {n: 1.0, events: -1.0}}
        sums.setdefault((row["population"], row["group_by"] == "overall"), set()).add(place)
    for (population, overall), places in sums.items():
        whole = sums.get((population, True))
        if not overall and whole:
            for what in ("n", "events"):
                parts = {f"{place}/{what}": 1.0 for place in places}
                puzzle.add(parts | {f"{next(iter(whole))}/{what}": -1.0}, 0, 0)
    for place in sorted(sums.get(("asked", True), set()) | sums.get(("asked", False), set())):
        other = place.replace("asked/", "at risk/", 1)
        if f"{other}/n" in puzzle.limits:
            puzzle.add({f"{place}/n": 1.0, f"{other}/n": -1.0, f"{place}/events": -1.0}, 0, 1e6)
            targets[f"{place}/not at risk"] = {f"{place}/n": 1.0, f"{other}/n": -1.0}
    return puzzle, targets


def _trust(puzzle: Puzzle, row: Mapping[str, Any], n: str, events: str, minimum: int) -> None:
    """A row that is called small: of few people if their number is hidden, else of few events."""
    if math.isnan(row["n"]):
        puzzle.know(n, 1, minimum - 1)
    elif row["n"] > 8 * minimum and row["measure"] != "proportion":
        puzzle.know(events, 1, minimum - 1)


def _from_means(rows: pd.DataFrame, base: float) -> Iterator[Finding]:
    """Of each phenotype and grouping, the mean of those who are not shown, if that may be one person."""
    for (exposure, model), of_mean in rows[rows["status"] == "ok"].groupby(["exposure", "model"]):
        whole = of_mean[of_mean["group_by"] == "overall"]
        for group_by, groups in of_mean[of_mean["group_by"] != "overall"].groupby("group_by"):
            if len(whole):
                found = _rest(whole, groups, base)
                if found is not None:
                    yield Finding(f"{model} {exposure}, the one not shown by {group_by}", *found)


def _rest(whole: pd.DataFrame, groups: pd.DataFrame, base: float) -> tuple[float, float] | None:
    """The value of the one person that everybody has more than the groups, if it is told within an SD."""
    sd = float((whole["se"] * np.sqrt(whole["n"])).iloc[0])
    limits = [_sum_limits(part, base) for part in (whole, groups)]
    fewest, most = limits[0][0] - limits[1][1], limits[0][1] - limits[1][0]
    low, high = limits[0][2] - limits[1][3], limits[0][3] - limits[1][2]
    return (low, high) if fewest <= 1 <= most and (high - low) / 2 < sd else None


def _sum_limits(rows: pd.DataFrame, base: float) -> tuple[float, float, float, float]:
    """Least and most people, least and most of the sum of their values; a mean is right to half its last digit."""
    n = np.array([window(value, base) for value in rows["n"]])
    mean = rows["estimate"].to_numpy(float)
    half = np.array([_last_digit(value) / 2 for value in mean])
    low, high = (n[:, 0] * (mean - half)).sum(), (n[:, 1] * (mean + half)).sum()
    return float(n[:, 0].sum()), float(n[:, 1].sum()), float(low), float(high)


def _last_digit(value: float) -> float:
    """The place of the last digit of a number: 0.5 of 61.5, 1e-13 of 61.48372913."""
    for step in (50, 20, 10, 5, 2, 1, 0.5, 0.2, 0.1, 0.05, 0.02, 0.01, 0.005, 0.002, 0.001):
        if abs(value / step - round(value / step)) < 1e-9:
            return float(step)
    return 1e-9


# means and spreads


def _from_spreads(tables: Mapping[str, pd.DataFrame]) -> Iterator[Finding]:
    """The distance of an extreme value from the mean, where the SD of its group is not that of the other groups.

    The SD of the others is guessed within a tenth; told if the distance is so within 15 %, and over four SDs.
    """
    if "fairness" not in tables:
        return
    rows = tables["fairness"]
    rows = rows[(rows["model"] == "mean") & rows["se"].notna() & (rows["group_by"] != "overall")]
    for (exposure, group_by), groups in rows.groupby(["exposure", "group_by"]):
        sd = (groups["se"] * np.sqrt(groups["n"])).to_numpy(float)
        for k, row in enumerate(groups.to_dict("records")):
            if len(sd) > 1:
                usual, half = float(np.median(np.delete(sd, k))), max(_last_digit(sd[k]), 0.0) / 2
                ends = [(sd[k] + s * half) ** 2 - ((1 - s * 0.1) * usual) ** 2 for s in (-1, 1)]
                low, high = (math.sqrt(max(end, 0) * row["n"]) for end in ends)
                if low > 4 * usual and (high - low) / 2 < 0.15 * (high + low) / 2:
                    yield Finding(f"{exposure} {group_by} {row['group']}: how far one value lies off", low, high)


# curves


def _from_curves(tables: Mapping[str, pd.DataFrame], minimum: int) -> Iterator[Finding]:
    """Events of a pair after the last steps of its curves, and numbers of people that only one count explains."""
    if not {"survival_curves", "hazards"} <= set(tables):
        return
    curves, hazards = tables["survival_curves"], tables["hazards"]
    base = float(hazards["rounded_to"].max()) if "rounded_to" in hazards else 1.0
    of_curves = float(curves["rounded_to"].max()) if "rounded_to" in curves else 1.0
    shown = curves[(curves["status"] == "ok") & (curves["n_events"] > 0)]
    last = shown.groupby(["exposure", "outcome", "group"])["n_events"].max().groupby(["exposure", "outcome"])
    totals = hazards[hazards["scale"] == "per_sd"].set_index(["exposure", "outcome"])["n_events"].dropna()
    for pair, steps in last:
        if pair in totals.index:
            whole, parts = window(totals[pair], base), [window(step, of_curves) for step in steps]
            low, high = whole[0] - sum(p[1] for p in parts), whole[1] - sum(p[0] for p in parts)
            if pinned(low, high, minimum):
                yield Finding(f"{pair}: events after the last steps", low, high)


# the page


def _number(text: str) -> float | None:
    return float(text.replace(",", "")) if re.fullmatch(r"[\d,]+", text) else None


def _from_flow(page: str, minimum: int) -> Iterator[Finding]:
    """Boxes of the flow: those who entered, went on, left; and the reasons."""
    base = float(minimum) if _ROUNDED in page else 1.0
    puzzle, targets, before = Puzzle(), {}, ""
    blocks = re.split(r'<div class="step">', page.split('<div class="flow"')[1].split("</p>")[0])[1:]
    left: list[str] = []
    for k, block in enumerate(blocks):
        for box in re.finditer(r'<div class="box"><b>([^<]*)</b>n (?:= )?([^<\n]*)', block):
            name = f"{k} {box[1]}"
            _state(puzzle, name, box[2].strip(), base, minimum)
            if before:
                puzzle.add({before: 1.0, name: -1.0} | dict.fromkeys(left, -1.0), 0, 0)
            before, left = name, []
        side = re.findall(
            r'<div class="kind"><span>([^<]*)</span><span>n (?:= )?([^<]*)</span></div>\s*<ul>(.*?)</ul>', block, re.S
        )
        for title, text, reasons in side:
            kind = f"{k} {title}"
            _state(puzzle, kind, text, base, minimum)
            left.append(kind)
            targets[kind] = {kind: 1.0}
            names = []
            for sentence, count in re.findall(r"<li><span>([^<]*)</span><span[^>]*>([^<]*)</span></li>", reasons):
                name = f"{kind}: {sentence}"
                _state(puzzle, name, count, base, minimum)
                names.append(name)
                targets[name] = {name: 1.0}
            puzzle.add({kind: -1.0} | dict.fromkeys(names, 1.0), 0, 0)
    for what, weights in targets.items():
        found = puzzle.range(weights)
        if found and pinned(*found, minimum):
            yield Finding(f"flow: {what}", *found)


def _state(puzzle: Puzzle, name: str, text: str, base: float, minimum: int) -> None:
    text = text.replace("&lt;", "<").strip()
    shown = _number(text)
    if shown is not None:
        puzzle.know(name, *window(shown, base))
    elif text.startswith("<"):
        puzzle.know(name, 1, minimum - 1)
    else:
        puzzle.know(name, 0, 1e6)


# Table 1


def _from_distributions(assets: Path, tables: Mapping[str, pd.DataFrame], page: str, minimum: int) -> Iterator[Finding]:
    """Means by sex beside the mean of everybody in the table of fairness, and what the bins of the figure add."""
    path = assets / "tables/distributions.csv"
    if not path.exists() or "fairness" not in tables:
        return
    base = float(minimum) if _ROUNDED in page else 1.0
    drawn = _drawn_bins(assets)
    fairness = tables["fairness"]
    whole = fairness[(fairness["model"] == "mean") & (fairness["group_by"] == "overall") & (fairness["status"] == "ok")]
    titles = {"LV ejection fraction": "lvef_pct", "LV end-diastolic volume": "lvedv_ml"}
    table = pd.read_csv(path, dtype=str)
    drawn_rows = _binned(table, len(drawn))
    for title, rows in table.groupby("phenotype", sort=False):
        overall = whole[whole["exposure"] == titles.get(str(title), "")]
        binned = drawn_rows.get(str(title), [])
        shapes = [drawn.pop(0) for _ in binned if drawn]
        shown = [row for row in rows.to_dict("records") if row["group"] != "All" and "±" in row["mean"]]
        for row, bins in zip(binned, shapes, strict=False):
            total, shares = window(_number(row["n"]) or 0.0, base), [share for *_, share in bins]
            told = [n for n in range(*_span(total)) if _fits(shares, n)]
            if base > 1 and len(told) == 1 and told[0] % base and not _multiples(shares, total, base):
                yield Finding(f"Figure, {title} of {row['group']}: the exact number", told[0], told[0])
        if len(overall) != 1 or not shown:
            continue
        yield from _value_beside(str(title), overall.iloc[0], shown, base, minimum)


def _span(limits: tuple[float, float]) -> tuple[int, int]:
    return int(limits[0]), int(limits[1]) + 1


def _binned(table: pd.DataFrame, n_drawn: int) -> dict[str, list[dict[str, Any]]]:
    """Phenotype -> rows of Table 1 whose bins are drawn, from the first drawn to the last.

    All people, who stand in the table where a sex is hidden, are drawn beside the sexes if there are as many shapes.
    """
    shown = table[table["mean"].str.contains("±") & table["n"].map(lambda text: (_number(text) or 0) >= _BINNED)]
    shown = shown if len(shown) == n_drawn else shown[shown["group"] != "All"]
    return {str(title): rows.to_dict("records")[::-1] for title, rows in shown.groupby("phenotype", sort=False)}


def _drawn_bins(assets: Path) -> list[list[tuple[float, float, float]]]:
    """Of every distribution that is drawn, its bins: left and right edge in the figure, and the share of people."""
    figure = assets / "figures/distributions.svg"
    found = []
    for path in re.findall(
        r'<path d="([^"]*)"[^>]*style="fill: none[^>]*>', figure.read_text() if figure.exists() else ""
    ):
        points = [(float(x), float(y)) for x, y in re.findall(r"[ML] (-?[\d.]+) (-?[\d.]+)", path)]
        flat = [(a[0], b[0], a[1]) for a, b in pairwise(points) if abs(a[1] - b[1]) < 1e-6 and b[0] - a[0] > 0.5]
        if len(flat) < 4 or len(points) < 2 * len(flat):
            continue
        areas = [(right - left) * (points[0][1] - y) for left, right, y in flat]
        found.append([(left, right, area / sum(areas)) for (left, right, _), area in zip(flat, areas, strict=True)])
    return found


def fitting_numbers(figure: Path, low: int, high: int) -> list[list[int]]:
    """Of every distribution that is drawn, the numbers of people that fit, from ``low`` to ``high - 1``."""
    shapes = [[share for *_, share in bins] for bins in _drawn_bins(figure.parents[1])]
    return [[n for n in range(low, high) if _fits(shares, n)] for shares in shapes]


def _fits(shares: list[float], n: int) -> bool:
    return max(abs(share * n - round(share * n)) for share in shares) < 0.02


def _from_bins(assets: Path, page: str, minimum: int) -> Iterator[Finding]:
    """What all people have more in a bin than a sex that is drawn beside them: those whom nothing shows."""
    path = assets / "tables/distributions.csv"
    if not path.exists():
        return
    base, drawn = float(minimum) if _ROUNDED in page else 1.0, _drawn_bins(assets)
    for title, rows in _binned(pd.read_csv(path, dtype=str), len(drawn)).items():
        shapes = {row["group"]: (row, drawn.pop(0)) for row in rows if drawn}
        sexes = [group for group in shapes if group != "All"]
        if "All" in shapes and sexes:
            for place, low, high in _rest_of_bins(shapes["All"], [shapes[sex] for sex in sexes], base):
                if pinned(low, high, minimum):
                    yield Finding(f"Figure, {title}: others at {place:.0f}", low, high)


_Shape = tuple[dict[str, Any], list[tuple[float, float, float]]]


def _rest_of_bins(whole: _Shape, parts: list[_Shape], base: float) -> Iterator[tuple[float, float, float]]:
    """Between edges that all have: where, and the least and the most people of the whole who are in no part."""
    puzzle, edges = Puzzle(), []
    for k, (row, bins) in enumerate((whole, *parts)):
        total = window(_number(row["n"]) or 0.0, base)
        for (left, _, _), (low, high) in zip(bins, _bin_windows(bins, total, base), strict=True):
            puzzle.know(f"{k} {left:.1f}", low, high)
        puzzle.add({f"{k} {left:.1f}": 1.0 for left, *_ in bins}, *total)
        edges.append({round(x, 1) for left, right, _ in bins for x in (left, right)})
    for first, last in pairwise(sorted(set.intersection(*edges))):
        rest = {}
        for k, (_, bins) in enumerate((whole, *parts)):
            rest |= {f"{k} {left:.1f}": -1.0 if k else 1.0 for left, *_ in bins if first <= round(left, 1) < last}
        puzzle.add(rest, 0, 1e6)
        found = puzzle.range(rest)
        if found:
            yield first, *found


def _bin_windows(
    bins: list[tuple[float, float, float]], total: tuple[float, float], base: float
) -> list[tuple[float, float]]:
    """People of each bin: of bins in multiples, the sum is the one near the total that makes all of them multiples."""
    held = _multiples([share for *_, share in bins], total, base)
    return [window(n, base) for n in held] or [(0.0, 1e6)] * len(bins)


def _multiples(shares: list[float], total: tuple[float, float], base: float) -> list[float]:
    """Shares as multiples of the base, whose sum is near the total; empty if they are none."""
    reach = len(shares) * base / 2 if base > 1 else 0
    for n in sorted(range(int(total[0] - reach), int(total[1] + reach) + 1), key=lambda n: abs(n - sum(total) / 2)):
        counts = [share * n / base for share in shares]
        if max(abs(count - round(count)) for count in counts) < 0.02:
            return [round(count) * base for count in counts]
    return []


# perfusion and quality rules


def _from_perfusion(page: str, minimum: int) -> Iterator[Finding]:
    """Who was tried and not measured, who is not limited, who lacks a value."""
    said = re.search(r"Of (.*?) studies with a first-pass series, (.*?) were measured; (.*?) of these have", page)
    if not said:
        return
    base, puzzle = float(minimum) if _ROUNDED in page else 1.0, Puzzle()
    for name, text in zip(("tried", "measured", "limited"), said.groups(), strict=True):
        _state(puzzle, name, text, base, minimum)
    for box in re.finditer(r'<div class="box"><b>Perfusion measured</b>n (?:= )?([^<\n]*)', page):
        _state(puzzle, "measured", box[1], base, minimum)
    targets = {"set aside": ("tried", "measured"), "without a limitation": ("measured", "limited")}
    section = page[said.end() :].split("</table>")[0]
    for title, text in re.findall(r'<th scope="row">([^<]*)</th><td class="number">([^<]*)</td>', section):
        _state(puzzle, title, text, base, minimum)
        targets[f"without {title}"] = ("measured", title)
    for whole, part in targets.values():
        puzzle.add({whole: 1.0, part: -1.0}, 0, 1e6)
    for what, (whole, part) in targets.items():
        found = puzzle.range({whole: 1.0, part: -1.0})
        if found and pinned(*found, minimum):
            yield Finding(f"perfusion: {what}", *found)


_QUARANTINING = ("edv_implausible", "esv_implausible", "ef_implausible", "mass_implausible")


def _from_quality(path: Path, page: str, minimum: int) -> Iterator[Finding]:
    """Who breaks a rule: whoever is doubted breaks one, and whoever breaks one is doubted."""
    states = dict(re.findall(r'<span class="state state-(\w+)">[^<]*</span><span>([^<]*)</span>', page))
    if not path.exists() or "doubted" not in states:
        return
    base, puzzle = float(minimum) if _ROUNDED in page else 1.0, Puzzle()
    _state(puzzle, "doubted", states["doubted"], base, minimum)
    rows = pd.read_csv(path, dtype=str).query("stage == 'derive' and code not in @_QUARANTINING").to_dict("records")
    targets: dict[str, dict[str, float]] = {}
    for row in rows:
        code, judged = row["code"], f"{row['code']}, judged"
        _state(puzzle, code, row["flagged"], base, minimum)
        _state(puzzle, judged, str(row["judged"]), base, minimum)
        targets |= {f"break {code}": {code: 1.0}, f"keep {code}": {judged: 1.0, code: -1.0}}
        targets |= {f"doubted, and not for {code}": {"doubted": 1.0, code: -1.0}}
    for weights in [weights for weights in targets.values() if len(weights) > 1]:
        puzzle.add(weights, 0, 1e6)
    puzzle.add(dict.fromkeys((row["code"] for row in rows), 1.0) | {"doubted": -1.0}, 0, 1e6)
    for what, weights in targets.items():
        found = puzzle.range(weights)
        if found and pinned(*found, minimum):
            yield Finding(f"quality: {what}", *found)


# evaluations


def _from_evaluations(cohort: Path, tables: Mapping[str, pd.DataFrame], minimum: int) -> Iterator[Finding]:
    """Who is in a table, or in Table 1, and not in an evaluation of the same number, or the other way round."""
    published = _people(cohort, tables, minimum)
    for path in sorted((cohort / "tables").glob("[ec]*s/*/summary.parquet")):
        summary = pd.read_parquet(path)
        pairs = summary[summary["measure"] == "bias"]
        base = float(minimum) if (pairs["n"].dropna() % minimum == 0).all() else 1.0
        for row in pairs[pairs["n"].notna()].to_dict("records"):
            own, place = window(row["n"], base), (row["of"], row["group_by"] or "overall", row["group"])
            for where, other in published.get(place, {}).items():
                for what, (more, fewer) in {"not evaluated": (other, own), "evaluated alone": (own, other)}.items():
                    low, high = more[0] - fewer[1], more[1] - fewer[0]
                    if pinned(low, high, minimum):
                        yield Finding(f"{path.parent.name} beside {where}, {place}: {what}", low, high)
        yield from _value_not_shown(path.parent.name, pairs, base)


def _people(
    cohort: Path, tables: Mapping[str, pd.DataFrame], minimum: int
) -> dict[tuple[str, str, str], dict[str, tuple[float, float]]]:
    """People with a phenotype, of a group: by the tables, and by Table 1."""
    found: dict[tuple[str, str, str], dict[str, tuple[float, float]]] = {}
    for name, table in tables.items():
        for row in table[(table["model"] == "mean") & (table["measure"] == "mean") & table["n"].notna()].to_dict(
            "records"
        ):
            place = (row["exposure"], row["group_by"], row["group"])
            found.setdefault(place, {})[name] = window(row["n"], row["rounded_to"])
    page, path = cohort / "reports/index.html", cohort / "reports/assets/tables/distributions.csv"
    if path.exists():
        base = float(minimum) if _ROUNDED in page.read_text() else 1.0
        titles = {"LV ejection fraction": "lvef_pct", "LV end-diastolic volume": "lvedv_ml"}
        groups = {"Women": ("sex", "female"), "Men": ("sex", "male"), "All": ("overall", "all")}
        for row in pd.read_csv(path, dtype=str).to_dict("records"):
            n = _number(str(row["n"]))
            if n is not None and row["phenotype"] in titles:
                place = (titles[row["phenotype"]], *groups[row["group"]])
                found.setdefault(place, {})["Table 1"] = window(n, base)
    return found


def _value_not_shown(name: str, rows: pd.DataFrame, base: float) -> Iterator[Finding]:
    """The error of the one whom everybody has more than the groups that are shown."""
    known = rows[rows["value"].notna() & rows["n"].notna() & rows["sd"].notna()]
    known = known.assign(estimate=known["value"], se=known["sd"] / np.sqrt(known["n"]))
    for of, of_quantity in known.groupby("of"):
        whole = of_quantity[of_quantity["group_by"] == ""]
        for group_by, groups in of_quantity[of_quantity["group_by"] != ""].groupby("group_by"):
            found = _rest(whole, groups, base) if len(whole) == 1 else None
            if found is not None:
                yield Finding(f"{name}: the error of the one not shown by {group_by} in {of}", *found)


def _value_beside(
    title: str, overall: pd.Series[Any], shown: list[dict[str, Any]], base: float, minimum: int
) -> Iterator[Finding]:
    means = [float(row["mean"].split("±")[0]) for row in shown]
    digits = [max(_last_digit(value), 0.1) for value in means]
    n = [window(_number(row["n"]) or 0.0, base) for row in shown]
    everybody = window(overall["n"], float(overall.get("rounded_to", 1.0)))
    few = everybody[0] - sum(high for _, high in n), everybody[1] - sum(low for low, _ in n)
    if pinned(*few, minimum):
        yield Finding(f"Table 1, {title}: people not shown", *few)
    half = _last_digit(overall["estimate"]) / 2
    ends = [everybody[k] * (overall["estimate"] + s * half) for k in (0, 1) for s in (-1, 1)]
    parts = [
        [count * (mean + s * d / 2) for count in ns for s in (-1, 1)]
        for ns, mean, d in zip(n, means, digits, strict=True)
    ]
    low, high = min(ends) - sum(max(part) for part in parts), max(ends) - sum(min(part) for part in parts)
    sd = overall["se"] * math.sqrt(overall["n"])
    if few[0] <= 1 <= few[1] and (high - low) / 2 < sd:
        yield Finding(f"Table 1, {title}: the value of the one not shown", low, high)


def between_releases(before: pd.DataFrame, after: pd.DataFrame, minimum: int) -> list[Finding]:
    """What two releases of a table tell of those who are in one of them: how many, and the value of one."""
    keys = ["exposure", "outcome", "model", "scale", "group_by", "group", "measure"]
    both = before.merge(after, on=keys, suffixes=("_before", "_after"))
    both = both[both["measure"] != "gap"]
    found = []
    for row in both.to_dict("records"):
        for what in ("n", "n_events"):
            counts = [(row[f"{what}_{when}"], row.get(f"rounded_to_{when}", 1.0)) for when in ("before", "after")]
            if any(math.isnan(count) for count, _ in counts):
                continue
            first, second = (window(*count) for count in counts)
            few = sorted((abs(first[0] - second[1]), abs(first[1] - second[0])))
            if first[0] > second[1] and pinned(*few, minimum):
                found.append(Finding(f"{what} of {[row[key] for key in keys]}", *few))
    return found


def values_between(before: pd.DataFrame, after: pd.DataFrame) -> list[Finding]:
    """Of the one person by whom two releases differ, how many SDs he lies from the mean, where a ratio tells it.

    One who has the event moves a log ratio by its variance times that; told if the digits leave less than two SDs.
    """
    keys = ["exposure", "outcome", "model", "scale", "group_by", "group", "measure"]
    both = before.merge(after, on=keys, suffixes=("_before", "_after"))
    ratios = both[both["measure"].isin(("odds_ratio", "hazard_ratio")) & (both["scale"] == "per_sd")]
    found = []
    for row in ratios.dropna(subset=["estimate_before", "estimate_after"]).to_dict("records"):
        logs = [math.log(row[f"estimate_{when}"]) for when in ("before", "after")]
        variance = row["se_before"] ** 2
        half = sum(_last_digit(abs(log)) for log in logs) / 2 / variance
        value = (logs[0] - logs[1]) / variance
        if value and half < 1:
            found.append(Finding(f"SDs of the one in {[row[key] for key in keys]}", value - half, value + half))
    return found
