"""What may be published: small cells are masked, and every table passes one gate.

- ``gate.Gate``: releases a table or curves, and records what it masked; ``gate.GateRules``: threshold and rounding.
- ``masking.mask_small_cells``: masks small cells and the cells that would give them back.
"""
