"""Tracer kinetics: models of myocardial blood flow and their fits to curves.

- ``quantification``: ``quantify``, maps by any of the models; ``checks`` of its input, ``status`` of each pixel.
- ``btex``: the blood-tissue exchange model; ``btex_curves``, ``btex_region``, ``btex_fit``, ``btex_maps`` fit it.
- ``fermi``, ``two_compartment``, ``deconvolution``: the other models.
- ``nonlocal_means``, ``least_squares``, ``differences``, ``convolution``, ``fitted``: what the fits share.
"""
