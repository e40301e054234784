"""First-pass perfusion: from a series of images to maps of myocardial blood flow and their phenotypes.

- ``chain``: ``measure``, all steps for one state of a study.
- ``series``, ``registration``, ``motion``: an even time grid, without breathing.
- ``segmentation``, ``wall``: labels of a series, and which pixels of the wall can be used.
- ``contrast``: from signal to mmol/L; the physics is in ``signal``.
- ``kinetics``: :func:`quantify` fits one of :data:`MODELS` to each pixel; :data:`STATUS` says how each fit ended.
- ``phenotypes``: the numbers of a study.
"""

from cmr_models.perfusion.kinetics.quantification import MODELS, quantify
from cmr_models.perfusion.kinetics.status import STATUS, Status

__all__ = ["MODELS", "STATUS", "Status", "quantify"]
