"""Tracer kinetics of the first pass: from concentration curves to myocardial blood flow."""
