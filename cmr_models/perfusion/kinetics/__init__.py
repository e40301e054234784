"""Tracer kinetics: models of myocardial flow and their fits to curves."""
