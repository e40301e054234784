"""Tracer kinetics of the first pass: from concentration curves to maps of myocardial blood flow."""

from cmr_models.perfusion.quantification import MODELS, quantify
from cmr_models.perfusion.status import STATUS, Status

__all__ = ["MODELS", "STATUS", "Status", "quantify"]
