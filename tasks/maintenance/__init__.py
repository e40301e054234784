"""Looking after a cohort: status, verification, withdrawal, the installation."""
