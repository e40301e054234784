"""Every kind of published file, and the check of a file whose kind its attributes tell."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import xarray as xr

from cmr_models.contracts.checks import SCHEMA, check_file, check_version
from cmr_models.contracts.predictions import OUTPUT, PERFUSION, SEGMENTATION
from cmr_models.contracts.rows import FileSpec
from cmr_models.contracts.studies import STUDY

FILES = (STUDY, SEGMENTATION, OUTPUT, PERFUSION)
"""The contract of every kind of published file."""


def contract_of(attributes: Mapping[Any, Any]) -> FileSpec | None:
    """The contract of a file, by the version that its writer put into its attributes; None if there is none."""
    return next((spec for spec in FILES if spec.writer in attributes), None)


def check_readable(attributes: Mapping[Any, Any]) -> None:
    """Raise NewerSchemaError if a newer version of the package wrote the file with these attributes."""
    spec = contract_of(attributes)
    title, schema = (spec.title, spec.schema) if spec is not None else ("a published file", 1)
    check_version(attributes.get(SCHEMA, 1), schema, title)


def check_published(tree: xr.DataTree, *, values: bool) -> None:
    """Check a file that a stage makes or has made; a tree that no stage signs has no contract.

    Args:
        tree: the file.
        values: whether to look at values too (see :func:`cmr_models.contracts.checks.check_file`).

    Raises:
        ContractError: if it is not what its contract says; NewerSchemaError if a newer version wrote it.
    """
    check_readable(tree.attrs)
    spec = contract_of(tree.attrs)
    if spec is not None:
        check_file(tree, spec, values=values)
