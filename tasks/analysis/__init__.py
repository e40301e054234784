"""Statistics of a cohort: two documents ask, one engine answers.

- ``by_settings``: what ``[analysis]`` of ``cohort.toml`` asks, to ``tables/estimates``; ``settings``: its keys.
- ``by_spec``: what an ``analysis.yaml`` asks, to ``tables/analyses``; ``spec_file``, ``spec_tables`` and ``features``
  read it and the tables that it names; ``checklists``, ``page`` and the figures describe its results.
- ``makers``: one maker for each table; ``publishing``: masking, multiplicity, the disclosure gate, keys.
- ``scan_shards``: scans of many phenotypes over a cluster, from Python.
"""
