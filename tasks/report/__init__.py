"""The report stage: one static site of a cohort, with a page to publish and internal pages of studies.

``site`` makes the site and replaces the old one. ``index_page`` is the page to publish; its parts are ``flow``,
``distributions``, ``estimate_figures``, ``selection``, ``perfusion_summary`` and ``methods``. ``study_list`` and
``study_page`` (with ``frames`` and ``perfusion_section``) are internal. ``tables`` reads what all of them show.
"""

from tasks.report.site import is_current, methods_of, render_report

__all__ = ["is_current", "methods_of", "render_report"]
