"""The outcomes that an analysis may name."""

DEATH = "death"

CONDITIONS = (
    "heart_failure",
    "atrial_fibrillation",
    "myocardial_infarction",
    "diabetes",
    "hypertension",
    "cancer",
    DEATH,
)
