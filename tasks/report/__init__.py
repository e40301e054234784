"""The report stage: one static site of a cohort, publishable part and internal study pages."""

from tasks.report.site import is_current, methods_of, render_report

__all__ = ["is_current", "methods_of", "render_report"]
