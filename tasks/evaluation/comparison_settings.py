"""Settings of the comparison of two models: how much they may differ before a promotion stops."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from pydantic import Field, field_validator

from cmr_models.contracts.names import nearest
from tasks.execution.settings import Section


class CompareSettings(Section):
    """Limits within which a second model may take the place of a first: beyond one, `compare` ends with status 4."""

    dice_min: dict[str, float] = Field(
        default={"lv": 0.85, "myocardium": 0.75, "rv": 0.8},
        description="structure -> lowest mean Dice between the two models, at end-diastole and at end-systole, overall"
        " and in every group that is shown",
    )
    bias_max: dict[str, float] = Field(
        default={"lvef_pct": 3.0, "rvef_pct": 6.0},
        description="phenotype -> largest mean difference, up or down, overall and in every group that is shown; the"
        " defaults are about the difference between two readers",
    )
    agreement_max: dict[str, float] = Field(
        default={},
        description="phenotype -> furthest that a 95 % limit of agreement may lie from 0, overall",
    )
    lost_max: float = Field(
        default=0.02,
        ge=0,
        le=1,
        description="share of the studies of which the first model gives a phenotype and the second does not, for the"
        " phenotype that loses most",
    )
    speed_min: float = Field(
        default=0.0, ge=0, description="least speed of the second model, as a multiple of the first's; 0: not judged"
    )
    worst: int = Field(default=10, ge=0, description="studies with the lowest Dice that are shown with pictures")

    @field_validator("dice_min")
    @classmethod
    def _are_structures(cls, limits: dict[str, float]) -> dict[str, float]:
        from cmr_models.evaluation.two_models import STRUCTURES

        _check_names(limits, STRUCTURES, "structure")
        _check_range(limits, 1.0)
        return limits

    @field_validator("bias_max", "agreement_max")
    @classmethod
    def _are_phenotypes(cls, limits: dict[str, float]) -> dict[str, float]:
        from cmr_models.evaluation.two_models import phenotypes_from_labels

        _check_names(limits, phenotypes_from_labels(), "phenotype that depends on labels")
        _check_range(limits, float("inf"))
        return limits


def _check_names(limits: Iterable[str], known: Iterable[str], what: str) -> None:
    there = tuple(known)
    for name in limits:
        if name not in there:
            raise ValueError(f"there is no {what} {name!r}{nearest(name, there)}")


def _check_range(limits: Mapping[str, float], highest: float) -> None:
    for name, value in limits.items():
        if not 0 <= value <= highest:
            raise ValueError(f"{name} must lie between 0 and {highest:g}, got {value:g}")
