"""CineMA's published networks on any study.

- ``network``: the runner of one network, ``CinemaNetwork``.
- ``segmentation``: labels, by ``CinemaSegmenter``.
- ``outputs``: classes, quantities, landmarks and features.
- ``grid``: from a view's pixels to the network's voxels, and back.
- ``placement``: where the network's box lies, around the heart.
"""
