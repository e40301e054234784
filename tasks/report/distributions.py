"""Distributions of the phenotypes by sex beside published ranges, without any number of a single person."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from cmr_models.analysis.disclosure.coarsening import step_of_mean, to_step
from cmr_models.analysis.disclosure.dominance import hidden_groups
from cmr_models.analysis.disclosure.masking import SUPPRESSED, round_counts
from cmr_models.estimates.contributions import Contributions
from cmr_models.phenotypes import PHENOTYPES
from cmr_models.phenotypes.reference_ranges import KAWEL_BOEHM_2020, ReferenceRange, reference_range
from tasks.report.counts import Counts
from tasks.report.drawing import INK, LINE, QUIET, SEX_COLOURS, draw
from tasks.report.naming import full_name
from tasks.report.pages import MISSING, number

Floats = npt.NDArray[np.float64]
Sex = Literal["male", "female"]

SHOWN = (
    "lvedv_ml", "lvesv_ml", "lvsv_ml", "lvef_pct", "lvm_g",
    "rvedv_ml", "rvesv_ml", "rvsv_ml", "rvef_pct", "lvco_l_min",
)  # fmt: skip
SEX_TITLES: Mapping[str, str] = {"female": "Women", "male": "Men"}
_UNITS = {row.name: row.unit for row in PHENOTYPES}
# With fewer people the bins are too wide to show a shape, and mean and SD are shown instead.
FEWEST_BINNED = 80
_ALL = "all"
NOT_SHOWN = "not shown"
_QUANTILES = (0.1, 0.25, 0.5, 0.75, 0.9)


@dataclass(frozen=True)
class Spread:
    """What may be shown of one phenotype in one group; ``edges`` and ``held`` are empty for too few people.

    ``held`` are the people of each bin, as whoever measures the figure reads them.
    """

    n: int
    mean: float
    sd: float
    quantiles: tuple[float, ...]
    edges: Floats
    held: Floats

    @property
    def density(self) -> Floats:
        """Of the bins; their area is 1."""
        return np.asarray(self.held / (np.diff(self.edges) * max(self.held.sum(), 1.0)), np.float64)


def spread(values: npt.ArrayLike, edges: npt.ArrayLike, minimum: int) -> Spread | None:
    """Summary of a group; None if it has fewer than ``minimum`` people.

    A quantile is given where at least ``minimum`` people lie on either side of it. Bins are merged until each holds
    ``minimum`` people. The smallest and the largest value are not given.

    Args:
        values: one number for each person; NaN is left out.
        edges: of the bins, independent of the values; values outside are counted in the outermost bins.
        minimum: the smallest number of people that may be shown.
    """
    known = np.asarray(values, np.float64)
    known = known[np.isfinite(known)]
    if len(known) < max(minimum, 2):
        return None
    merged, density = merge_bins(known, np.asarray(edges, np.float64), minimum)
    held = np.round(density * np.diff(merged) * len(known))
    quantiles = tuple(
        float(np.quantile(known, q)) if min(q, 1 - q) * len(known) > minimum - 1e-9 else float("nan")
        for q in _QUANTILES
    )
    return Spread(len(known), float(known.mean()), float(known.std(ddof=1)), quantiles, merged, held)


def merge_bins(values: Floats, edges: Floats, minimum: int) -> tuple[Floats, Floats]:
    """Merge neighbouring bins from the left until each holds at least ``minimum`` values; returns edges and density."""
    inside = np.clip(values, edges[0], np.nextafter(edges[-1], -np.inf))
    counts, _ = np.histogram(inside, edges)
    kept, held, pending = [float(edges[0])], [], 0
    for count, right in zip(counts.tolist(), edges[1:].tolist(), strict=True):
        pending += count
        if pending >= minimum:
            kept.append(right)
            held.append(pending)
            pending = 0
    if held:
        held[-1] += pending
        kept[-1] = float(edges[-1])
    widths = np.diff(kept)
    return np.asarray(kept), np.asarray(held, np.float64) / (widths * max(len(values), 1))


def published_range(phenotype: str, sex: Sex) -> ReferenceRange | None:
    """The range of Petersen 2017, or of Kawel-Boehm 2020 where the former has none."""
    return reference_range(phenotype, sex) or reference_range(phenotype, sex, KAWEL_BOEHM_2020)


def distribution_figure(measured: pd.DataFrame, counts: Counts) -> bytes | None:
    """Figure with one panel for each phenotype, by sex; None if no group is large enough."""
    groups = drawn_groups(measured)
    shown = [name for name in SHOWN if name in measured]
    spreads = {(name, group): found for name in shown for group, found, _ in _spreads(measured, name, counts)}
    if not any(spreads.values()):
        return None

    def paint(figure: Figure) -> None:
        axes = figure.subplots(2, 5, squeeze=False)
        for panel, name in zip(axes.ravel(), SHOWN, strict=True):
            if name not in shown:
                panel.set_axis_off()
                continue
            _panel(panel, name, {group: spreads.get((name, group)) for group in groups}, first=name in SHOWN[::5])

    return draw(paint, 10.6, 2.0 + 1.25 * len(groups))


def distribution_rows(measured: pd.DataFrame, counts: Counts) -> list[dict[str, Any]]:
    """Rows of the table that belongs to the figure; where a sex is hidden, one of all people comes after them."""
    return [
        _table_row(name, group, summary, n)
        for name in SHOWN
        if name in measured
        for group, summary, n in _spreads(measured, name, counts)
    ]


def table_counts(measured: pd.DataFrame, counts: Counts) -> list[tuple[str, str, str]]:
    """Phenotype, group and number of people as the table gives it; people of unknown sex are not shown."""
    found = []
    for name in (name for name in SHOWN if name in measured):
        found += [(name, group, n) for group, _, n in _spreads(measured, name, counts)]
        if _ALL not in _groups(measured):
            unknown = int(_of_unknown_sex(measured)[name].notna().sum())
            found.append((name, "unknown", str(unknown) if counts.minimum < 2 else NOT_SHOWN))
    return found


def shown_means(measured: pd.DataFrame, counts: Counts) -> list[dict[str, Any]]:
    """The means of the table as rows of :data:`.means.MEAN_COLUMNS`; a group that is hidden has no number."""
    if not len(measured):
        return []
    rows = []
    for name in (name for name in SHOWN if name in measured):
        for group, found, _ in _spreads(measured, name, counts):
            n = counts.round(found.n) if found else np.nan
            se = found.sd / np.sqrt(n) if found and n else np.nan
            about = {"exposure": name, "model": "mean", "measure": "mean", "status": "ok" if found else SUPPRESSED}
            place = {"group_by": "sex, Table 1", "group": group, "rounded_to": counts.minimum if counts.rounded else 1}
            if group != _ALL:
                rows.append({**about, **place, "n": n, "estimate": found.mean if found else np.nan, "se": se})
    return rows


def distribution_counts(measured: pd.DataFrame) -> list[float]:
    """Every number of people in the table, exact: what :class:`Counts` are decided by."""
    names = [name for name in SHOWN if name in measured]
    parts = [measured, *_groups(measured).values(), _of_unknown_sex(measured)]
    return [float(part[name].notna().sum()) for name in names for part in parts] + [float(len(measured))]


def bins_name(name: str) -> str:
    """The name of the bins of a phenotype, as :attr:`.counts.Counts.withheld` has it."""
    return f"bins of {name}"


def drawn_groups(measured: pd.DataFrame) -> list[str]:
    """The groups that the figure draws: the sexes, or all people where no sex is known."""
    return list(_groups(measured))


def drawn_bins(measured: pd.DataFrame, name: str, counts: Counts) -> dict[str, Spread]:
    """Group -> what is shown of it, of the groups of which the figure shows bins."""
    groups = drawn_groups(measured)
    found = {group: spread for group, spread, _ in _spreads(measured, name, counts) if group in groups}
    return {group: spread for group, spread in found.items() if spread and len(spread.held)}


def _spreads(measured: pd.DataFrame, name: str, counts: Counts) -> list[tuple[str, Spread | None, str]]:
    """Group, what may be shown of a phenotype in it, and the number of people as text.

    The sexes, and the people of unknown sex, add up to all people, whose mean other tables give: where one of the parts
    is small, or dominated by one value, so is another hidden, with its mean and SD, and all people are shown instead.
    """
    groups = _groups(measured)
    parts = {group: float(people[name].notna().sum()) for group, people in groups.items()}
    if _ALL not in groups:
        parts |= {"unknown": float(_of_unknown_sex(measured)[name].notna().sum())}
    texts = counts.texts(parts, alone=False)
    if name in counts.withheld:
        return [(group, None, NOT_SHOWN) for group in groups]
    shown = _groups_shown(measured, name, texts) if counts.minimum > 1 else set(groups)
    seen = {group: people for group, people in groups.items() if group in shown}
    if len(seen) < len(groups) and sum(parts.values()) >= counts.minimum and _ALL not in groups:
        groups, texts[_ALL] = groups | {_ALL: measured}, counts.text(sum(parts.values()))
        seen |= {} if Contributions.of(measured[name]).is_dominated else {_ALL: measured}
    return [(group, _coarse_spread(seen.get(group), name, counts), texts[group]) for group in groups]


def _groups_shown(measured: pd.DataFrame, name: str, texts: Mapping[str, str]) -> set[str]:
    """Groups with a mean: those with a number of people, and that no value dominates, nor all hidden ones as one."""
    groups = _groups(measured)
    everybody = groups if _ALL in groups else groups | {"unknown": _of_unknown_sex(measured)}
    values = [people[name].to_numpy(float) for people in everybody.values()]
    seen = np.array([texts[group][0].isdigit() for group in everybody], bool)
    sizes = np.array([np.isfinite(found).sum() for found in values], float)
    hidden = hidden_groups(seen, sizes, [(Contributions.of(found),) for found in values])
    return set(itertools.compress(everybody, ~hidden)) & set(groups)


def _coarse_spread(people: pd.DataFrame | None, name: str, counts: Counts) -> Spread | None:
    """The summary of a group in steps that one person does not move; None if it is hidden or too small."""
    found = None if people is None else spread(people[name].to_numpy(float), bin_edges(name), counts.minimum)
    if found is None:
        return None
    if counts.round(found.n) < FEWEST_BINNED or bins_name(name) in counts.withheld:
        found = replace(found, edges=found.edges[:0], held=found.held[:0])
    if counts.minimum < 2:
        return found
    step = step_of_mean(found.n, found.sd)
    mean, sd, *quantiles = to_step([found.mean, found.sd, *found.quantiles], step).tolist()
    held = round_counts(found.held, counts.minimum) if counts.rounded else found.held
    return replace(found, mean=mean, sd=sd, quantiles=tuple(quantiles), held=held)


def _table_row(name: str, group: str, summary: Spread | None, n: str) -> dict[str, Any]:
    found = published_range(name, group) if group in SEX_TITLES else None  # type: ignore[arg-type]
    digits = 2 if name == "lvco_l_min" else 1
    row = {
        "phenotype": full_name(name), "unit": _UNITS[name], "group": SEX_TITLES.get(group, "All"),
        "reference": f"{found.low:.{digits - 1}f} – {found.high:.{digits - 1}f}" if found else "",
        "reference_mean": f"{found.mean:.{digits - 1}f} ± {found.sd:.{digits - 1}f}" if found else "",
        "source": found.source.split(",")[0] if found else "",
    }  # fmt: skip
    if summary is None:
        return row | {"n": n, "mean": MISSING, "median": MISSING, "suppressed": n != "0"}
    low, mid, high = (number(value, digits) for value in summary.quantiles[1:4])
    median = mid if low == MISSING else f"{mid} ({low} – {high})"
    mean = f"{number(summary.mean, digits)} ± {number(summary.sd, digits)}"
    return row | {"n": n, "mean": mean, "median": median, "suppressed": False}


def _groups(measured: pd.DataFrame) -> dict[str, pd.DataFrame]:
    sexes = [sex for sex in SEX_TITLES if "sex" in measured and (measured["sex"] == sex).any()]
    return {sex: measured[measured["sex"] == sex] for sex in sexes} or {_ALL: measured}


def sexes_of(measured: pd.DataFrame) -> tuple[str, ...]:
    """The groups that everybody falls into: the sexes that are there and the unknown; all, where no sex is known."""
    groups = tuple(_groups(measured))
    return groups if _ALL in groups else (*groups, "unknown")


def _of_unknown_sex(measured: pd.DataFrame) -> pd.DataFrame:
    return measured[~measured["sex"].isin(list(SEX_TITLES))] if "sex" in measured else measured[:0]


def bin_edges(name: str) -> Floats:
    """Bins of a third of the published SD, from 4 SD below the lower published mean to 5 SD above the higher."""
    found = [item for sex in SEX_TITLES if (item := published_range(name, sex))]  # type: ignore[arg-type]
    sd = float(np.mean([item.sd for item in found]))
    low = max(0.0, min(item.mean for item in found) - 4 * sd)
    return np.arange(low, max(item.mean for item in found) + 5 * sd, sd / 3)


def _panel(axes: Axes, name: str, spreads: Mapping[str, Spread | None], *, first: bool) -> None:
    order = list(spreads)[::-1]
    axes.set_title(full_name(name), fontsize=8.5)
    axes.set_xlabel(_UNITS[name])
    for row, group in enumerate(order):
        _reference_band(axes, name, group, row)
        summary = spreads[group]
        if summary is None:
            axes.text(
                0.5,
                row + 0.3,
                "too few to show",
                transform=axes.get_yaxis_transform(),
                color=QUIET,
                ha="center",
            )
            continue
        _ridge(axes, summary, row, SEX_COLOURS.get(group, INK))
    axes.set_ylim(-0.34, len(order) - 0.08)
    axes.set_xlim(*_x_limits(name, spreads))
    titles = [SEX_TITLES.get(group, "All") for group in order]
    axes.set_yticks(range(len(order)), titles if first else [""] * len(order))
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)


def _x_limits(name: str, spreads: Mapping[str, Spread | None]) -> tuple[float, float]:
    found = [item for sex in SEX_TITLES if (item := published_range(name, sex))]  # type: ignore[arg-type]
    shown = [item for item in spreads.values() if item]
    low = min([item.mean - 3 * item.sd for item in found] + [item.mean - 2.6 * item.sd for item in shown])
    high = max([item.mean + 3 * item.sd for item in found] + [item.mean + 3 * item.sd for item in shown])
    return max(0.0, low), high


def _reference_band(axes: Axes, name: str, group: str, row: int) -> None:
    found = published_range(name, group) if group in SEX_TITLES else None  # type: ignore[arg-type]
    if found is None:
        return
    axes.fill_between([found.low, found.high], row - 0.28, row + 0.86, color=LINE, alpha=0.55, linewidth=0, zorder=-1)
    axes.plot(
        [found.mean] * 2,
        [row - 0.28, row + 0.86],
        color=QUIET,
        linewidth=0.8,
        linestyle=(0, (2, 2)),
        zorder=0,
    )


def _ridge(axes: Axes, summary: Spread, row: int, colour: str) -> None:
    if len(summary.held):
        height = 0.78 * summary.density / summary.density.max()
        axes.stairs(row + height, summary.edges, baseline=row, fill=True, color=colour, alpha=0.35, linewidth=0)
        axes.stairs(row + height, summary.edges, baseline=row, color=colour, linewidth=1.0)
    else:
        reach = 1.96 * summary.sd
        axes.plot([summary.mean - reach, summary.mean + reach], [row + 0.34] * 2, color=colour, linewidth=1.3)
        axes.scatter([summary.mean], [row + 0.34], s=30, marker="D", color=colour, linewidths=0, zorder=3)
    p10, p25, p50, p75, p90 = summary.quantiles
    axes.plot([p10, p90], [row - 0.14] * 2, color=colour, linewidth=1.0)
    axes.plot([p25, p75], [row - 0.14] * 2, color=colour, linewidth=4.0, solid_capstyle="butt")
    axes.scatter([p50], [row - 0.14], s=22, color="white", edgecolors=colour, linewidths=1.3, zorder=3)
