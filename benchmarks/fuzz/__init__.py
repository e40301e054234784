"""Damaged and hostile bytes for every reader: each gives a result or the error that the reader documents."""
