"""The arterial input function: where its blood is, its curve's features and gates."""

from cmr_models.aif_detection import detect
from cmr_models.aif_features import failed_gates, features

__all__ = ["detect", "failed_gates", "features"]
