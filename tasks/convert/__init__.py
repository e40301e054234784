"""The convert stage: from source files to one study file."""
