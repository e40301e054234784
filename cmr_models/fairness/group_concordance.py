"""Concordance between groups: who of one group is ranked rightly against whom of another."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pandas as pd

from cmr_models.estimates.design_matrix import numbers
from cmr_models.estimates.groups import labels
from cmr_models.survival.checks import check_events, check_order
from cmr_models.survival.ordered_pairs import sum_pairs

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


def group_concordance(
    exit: npt.ArrayLike,
    event: npt.ArrayLike,
    risk: npt.ArrayLike,
    group: npt.ArrayLike,
    *,
    entry: npt.ArrayLike | None = None,
) -> pd.DataFrame:
    """Harrell's concordance of each ordered pair of groups: events of one, all who outlive them of the other.

    The mean over the cells, weighted by their pairs, is the concordance of everybody, exactly. A score can rank each
    group well within itself and still put one below the other: only the cross cells show it.

    Args:
        exit: ``(n,)`` times.
        event: ``(n,)`` boolean.
        risk: ``(n,)`` score, higher: earlier event.
        group: ``(n,)`` labels.
        entry: ``(n,)`` delayed entry; at risk on (entry, exit].

    Returns:
        One row a pair of groups: ``event_group, other_group, n_pairs, estimate, se, status, reason``; cells without a
        pair are failed rows. The error is the infinitesimal jackknife over people.

    Raises:
        ValueError: lengths differ, values that are not finite, exit not after entry.

    Reference:
        arXiv 2606.16872; ties of time and risk as :func:`cmr_models.survival.concordance`.
    """
    times, events, scores, names, starts = _check(exit, event, risk, group, entry)
    rank = np.unique(scores, return_inverse=True)[1].astype(np.int64)
    distinct = np.unique(times)
    leaves = (2 * np.searchsorted(distinct, times) + ~events).astype(np.int64)
    comes = None if starts is None else _coming(starts, distinct)
    rows = [
        {"event_group": first, "other_group": second}
        | _cell(np.flatnonzero(events & (names == first)), np.flatnonzero(names == second), leaves, comes, rank)
        for first in sorted(set(names))
        for second in sorted(set(names))
    ]
    return pd.DataFrame(rows)


def _check(
    exit: npt.ArrayLike, event: npt.ArrayLike, risk: npt.ArrayLike, group: npt.ArrayLike, entry: npt.ArrayLike | None
) -> tuple[Floats, npt.NDArray[np.bool_], Floats, npt.NDArray[np.object_], Floats | None]:
    times, events, scores = numbers(exit, "exit"), check_events(event), numbers(risk, "risk")
    starts = None if entry is None else numbers(entry, "entry")
    names = labels(pd.Series(np.asarray(group, object)))
    lengths = {len(part) for part in (times, events, scores, names, *([] if starts is None else [starts]))}
    if len(lengths) > 1:
        raise ValueError(f"exit, event, risk, group and entry must have one length, got {sorted(lengths)}")
    if not (np.isfinite(times).all() and np.isfinite(scores).all()):
        raise ValueError("exit and risk must be finite; drop rows with missing values first")
    if starts is not None:
        check_order(times, starts)
    return times, events, scores, names, starts


def _coming(starts: Floats, distinct: Floats) -> Ints:
    """Key up to which a person is not yet at risk: those who enter at an event's time are not."""
    later = 2 * np.searchsorted(distinct, starts, "left") + 1
    return np.asarray(later - 2 * (~np.isin(starts, distinct)), np.int64)


def _cell(failing: Ints, others: Ints, leaves: Ints, comes: Ints | None, rank: Ints) -> dict[str, object]:
    in_all, won = np.zeros(len(leaves)), np.zeros(len(leaves))
    compared = [(others, leaves, 1.0)]
    if comes is not None:
        compared.append((others[comes[others] > 0], comes, -1.0))
    for members, key, sign in compared:
        found = sum_pairs(
            leaves[failing], rank[failing], np.ones(len(failing)), np.maximum(key[members], 0), rank[members]
        )
        in_all[failing] += sign * (found.lower + found.tied + found.higher)
        won[failing] += sign * (found.lower + found.tied / 2)
        in_all[members] += sign * found.weight
        won[members] += sign * (found.weight_above + found.weight_tied / 2)
    total = in_all.sum() / 2
    if round(float(total)) == 0:
        return {"n_pairs": 0.0, "estimate": np.nan, "se": np.nan, "status": "failed", "reason": "no_pairs"}
    value = float(won.sum() / 2 / total)
    se = float(np.sqrt((((won - value * in_all) / total) ** 2).sum()))
    return {"n_pairs": float(total), "estimate": value, "se": se, "status": "ok", "reason": ""}
