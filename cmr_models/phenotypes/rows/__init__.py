"""The rows of the table of phenotypes, by organ. To add a phenotype: one function and one row in one of these files.

:mod:`~cmr_models.phenotypes.rows.cycle_and_body`: end-diastole, end-systole, heart rate, height, weight, surface.
:mod:`~cmr_models.phenotypes.rows.ventricles`: volumes, ejection fraction, mass, output, rates.
:mod:`~cmr_models.phenotypes.rows.atria`: areas.
:mod:`~cmr_models.phenotypes.rows.long_axis`: annular excursion, shortening.
:mod:`~cmr_models.phenotypes.rows.certainty`: predicted overlap with an expert, intervals of ejection fractions.
:mod:`~cmr_models.phenotypes.rows.arithmetic`: functions that rows of several organs share.
"""
