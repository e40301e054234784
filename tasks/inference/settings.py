"""Settings of the stages that run networks."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from tasks.execution.settings import Section
from tasks.state.store import model_name

Precision = Literal["auto", "fp32", "bf16"]


class SegmentSettings(Section):
    """Which network, in which precision."""

    model: str = Field(default="default", min_length=1, description="name in the zoo, or a folder with weights")
    batch_images: int = Field(default=64, gt=0, description="images a forward pass")
    precision: Precision = Field(default="auto", description="auto: bf16 where the device has it")
    padding: Literal["black", "masked"] = Field(
        default="black", description="of stacks shorter than CineMA's input: black slices, as published, or left out"
    )


class PredictSettings(Section):
    """Which network that does not segment, for what, how."""

    task: str = Field(description="of the model's card: classification_cvd, regression_ef, landmark_heatmap, pretrain")
    model: str = Field(min_length=1, description="a model folder, a weights file, or hub:<task>/<data>_<view>")
    precision: Precision = Field(default="auto", description="auto: bf16 where the device has it")
    tokens: Literal["mean", "all"] = Field(default="mean", description="of features: the mean of each view, or all")
    cohort_name: str | None = Field(
        default=None, description="whose images these are; tells whether the model has seen them"
    )

    @property
    def folder(self) -> str:
        """Name of the predictions' folder, and of the model in the ledger."""
        return f"{self.task}-{model_name(self.model)}"

    @property
    def stage(self) -> str:
        """Name in the ledger: every task and model has its own."""
        return f"predict {self.folder}"
