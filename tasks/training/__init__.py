"""The training of networks: one loop, and a recipe for each kind of network.

:func:`tasks.training.loop.train` trains any :class:`tasks.training.loop.Recipe`. The recipes are in
``segmentation_recipe`` (2-D networks; simulated and real images), ``cinema_recipe`` (CineMA's networks and their
baselines; studies of a cohort) and ``perfusion_recipe`` (perfusion series; simulated). Settings are read by
:func:`tasks.training.recipes.read_recipe`.
"""
