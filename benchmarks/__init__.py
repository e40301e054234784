"""Speed and accuracy against named peers and references."""
