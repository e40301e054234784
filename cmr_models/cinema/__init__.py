"""CineMA on any study: the published grid, windows, outputs of each task."""
