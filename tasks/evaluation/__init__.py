"""Evaluate stored predictions against reference labels and values.

``cohort`` evaluates all studies of a cohort (:func:`tasks.evaluation.cohort.evaluate`), ``studies`` one study.
``references`` reads what they are compared with; ``release`` masks small groups in the summary.
"""
