"""What the demonstrations of docs/demonstrations.md are made by; run by :mod:`benchmarks.demonstration`."""
