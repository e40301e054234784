"""An analysis from its specification: the people, the models, the tables of estimates.

- ``spec.StudySpec``: everything that an analysis decides, from ``analysis.yaml`` or ``[analysis]`` of the settings;
  ``model_spec.AnalysisSpec``: what the models with one set of covariates estimate.
- ``people.analysis_people``, ``people.analysis_outcome``: the rows that models are fitted on; ``exclusions``,
  ``transforms``: who is left out, and how a phenotype enters a model.
- ``regressions``, ``survival_curves``, ``estimates_by_group``, ``accuracy_by_group``, ``nested_models`` and
  ``sensitivity``: the rows of the tables; ``imputation`` and ``participation_weights`` serve the last.
- ``biobank``: participants and outcomes from UK Biobank fields. ``disclosure``: what may be published.
"""
