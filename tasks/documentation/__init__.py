"""The documentation that is made from the code, so that the two cannot disagree.

:mod:`~tasks.documentation.pages`: ``write_pages``; dictionaries, reason codes, settings.
:mod:`~tasks.documentation.data_model`: what files and tables hold.
:mod:`~tasks.documentation.measurements`, :mod:`~tasks.documentation.validation_page`: results of the benchmarks.
"""
