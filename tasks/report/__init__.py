"""The report stage: one static site of a cohort, with a page to publish and internal pages of studies.

``site`` makes the site and replaces the old one. ``index_page`` is the page to publish; its parts are ``flow``,
``distributions``, ``estimate_figures``, ``selection``, ``perfusion_summary`` and ``methods``. ``study_list`` and
``study_page`` (with ``frames`` and ``perfusion_section``) are internal. ``tables`` reads what all of them show.
``report_key`` tells whether there is anything to make.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tasks.report.report_key import is_current
    from tasks.report.site import methods_of, render_report

__all__ = ["is_current", "methods_of", "render_report"]


def __getattr__(name: str) -> Any:
    """The names of its modules, imported when they are used: to read settings no figures need to be drawn."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"tasks.report.{'report_key' if name == 'is_current' else 'site'}"), name)
