"""Predictions against reference labels and facts."""
