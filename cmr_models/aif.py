"""The arterial input function: its curve's features and gates."""

from cmr_models.aif_features import failed_gates, features

__all__ = ["failed_gates", "features"]
