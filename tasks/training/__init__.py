"""Recipes that train networks, and what they share: data, checkpoints, logs."""
