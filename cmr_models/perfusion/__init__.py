"""First-pass perfusion: from a series of images to maps of myocardial blood flow and their phenotypes."""

from cmr_models.perfusion.kinetics.quantification import MODELS, quantify
from cmr_models.perfusion.kinetics.status import STATUS, Status

__all__ = ["MODELS", "STATUS", "Status", "quantify"]
