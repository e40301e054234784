"""The page on what published files and tables hold, made from the contracts that are checked."""

from __future__ import annotations

from collections.abc import Iterable

from cmr_models.contracts import FILES, FileSpec, TableSpec
from cmr_models.contracts.rows import ArraySpec, AttributeSpec, ColumnSpec, GroupSpec
from cmr_models.contracts.studies import VIEW_ARRAYS
from cmr_models.contracts.tables import (
    ESTIMATE_MORE,
    ESTIMATE_PUBLISHED,
    ESTIMATE_TABLE,
    ESTIMATE_TABLES,
    PEOPLE_FLOW,
    PREDICTION_TABLE,
)
from tasks.convert.reference_table import REFERENCES
from tasks.convert.study_table import STUDIES
from tasks.derive.perfusion_tables import PERFUSION_TABLE, SEGMENTS
from tasks.derive.phenotype_tables import CURVES
from tasks.evaluation.comparison_tables import COMPARED, COMPARISON, VERDICTS
from tasks.report.markdown import code, page, table
from tasks.state.ledger import NOT_TAKEN, OUTCOMES, SOURCES
from tasks.state.revisions import CHANGES, MADE
from tasks.state.speeds import RECIPES, SPEEDS

TABLES = (
    STUDIES, REFERENCES, CURVES, PERFUSION_TABLE, SEGMENTS, PREDICTION_TABLE, PEOPLE_FLOW, ESTIMATE_TABLE,
    COMPARISON, VERDICTS, COMPARED, OUTCOMES, SOURCES, NOT_TAKEN, SPEEDS, RECIPES, CHANGES, MADE,
)  # fmt: skip
"""Tables whose columns stand on this page; those of the phenotypes stand in the data dictionary."""

_INTRO = """\
Dimensions have names, and units stand in names. `cmr_models/contracts` holds what is described here as rows of
tables; files and tables are checked against them when they are written and when they are read. The example at the end
is run by a test.
"""

_FILES = """\
Every file is a Zarr v3 hierarchy in a zip. `ab/cd` are the first bytes of a hash of the study id. A file never
changes after it appeared.

`key` is a digest of all that the file was made from: sources, version of the code that matters, settings; for a
prediction the key of the study, the weights, the precision. A step is done if the file with the right key is there;
otherwise it runs.

Images are `(frame, slice, row, col)`. A pixel centre lies at `position_mm + row_dir * col * pixel_mm[1] + col_dir *
row * pixel_mm[0]`, in the patient system of DICOM (left, posterior, superior). Short-axis slices run from base to
apex. `perfusion_<state>` is a view whose frames are heartbeats; `_pd` holds its proton-density frames, `_aif` and
`_aif_echo2` the echoes of the arterial input, `_aif_pd` the density of the input.
"""

_VERSIONS = """\
A contract has a version. Version 1 is not written into files; later versions stand in the attribute `schema` of a
file, as `schema` in a receipt (`*.rejected.json`), as `cmr_cohort_schema` in the metadata of a Parquet table and as
`user_version` in the ledger. What a newer version of cmr-cohort has written is never read as if it were older, and
never replaced: the message says which version is there and to update.
"""

_OTHER_TABLES = """\
- `tables/phenotypes.parquet`: a row a study, every study: [data_dictionary.md](data_dictionary.md); the same as
  `phenotypes_dictionary.csv`.
- `tables/evaluations/<predictions>/summary.parquet`, `cases.parquet`: [guide.md](guide.md#evaluate).
- How estimates are made: [statistics.md](statistics.md). Analyses by settings write these tables:
"""

_EXAMPLE = """\
`root` is the folder of a cohort, `study` one of its ids.

```python
import numpy as np
import pandas as pd
from cmr_models.phenotypes.volumes import volume_curves
from tasks.state.store import Cohort, open_tree

cohort = Cohort(root)
with open_tree(cohort.study(study)) as tree:
    sax = tree["sax"].to_dataset().load()
with open_tree(cohort.prediction("default", study)) as tree:
    predicted = tree["sax"].to_dataset().load()

assert sax["intensity"].dims == ("frame", "slice", "row", "col")
share = predicted["slice_share"].values  # of the last slice its part under the valve counts
lv_ml = volume_curves(predicted["label"].values, sax, share)["lv_ml"]

curve = pd.read_parquet(cohort.tables / "curves.parquet").query("study == @study")
assert np.allclose(lv_ml, curve["lv_ml"], rtol=1e-3)
```
"""


def data_model() -> str:
    """Every array, attribute and column of what is published."""
    parts = [_INTRO, "## Files\n", _FILES]
    for spec in FILES:
        parts += _file(spec)
    parts += ["## Versions\n", _VERSIONS, "## Tables\n", _OTHER_TABLES, *_estimate_tables()]
    for contract in TABLES:
        parts += [f"### {code(contract.path)}\n", f"{_rows(contract)}\n", _columns(contract.columns)]
    return page("Contracts of the files", *parts, "## Example\n", _EXAMPLE)


def _file(spec: FileSpec) -> Iterable[str]:
    yield f"## {spec.title.capitalize()}: {code(spec.path)}\n"
    for group in spec.groups:
        yield f"{group.title}. Groups: {', '.join(code(name) for name in group.names)}.\n"
        if group.arrays[: len(VIEW_ARRAYS)] == VIEW_ARRAYS and group is not spec.groups[0]:
            yield f"The arrays of a view, and:\n\n{_arrays(group.arrays[len(VIEW_ARRAYS) :])}"
        else:
            yield _arrays(group.arrays)
        if own := _attributes_of(group, spec):
            yield f"Attributes{own}"
    yield f"Attributes of the file:\n\n{_attributes(spec.attributes)}"


def _attributes_of(group: GroupSpec, spec: FileSpec) -> str:
    """The attributes of a group; of one that has all of the first group's, only the others."""
    first = spec.groups[0].attributes
    if group is spec.groups[0] or not first:
        return f" of such a group:\n\n{_attributes(group.attributes)}" if group.attributes else ""
    return f" of such a group, beside those above:\n\n{_attributes(a for a in group.attributes if a not in first)}"


def _arrays(arrays: Iterable[ArraySpec]) -> str:
    rows = (
        (
            code(row.name),
            ", ".join(_dim(dim) for dim in row.dims),
            row.dtype,
            row.unit,
            _array_range(row),
            _text(row.text, row.required),
        )
        for row in arrays
    )
    return table(("Variable", "Dimensions", "Type", "Unit", "Range", "Holds"), rows)


def _attributes(attributes: Iterable[AttributeSpec]) -> str:
    rows = ((code(row.name), row.kind, row.unit, _text(row.text, row.required)) for row in attributes)
    return table(("Attribute", "Type", "Unit", "Says"), rows)


def _columns(columns: Iterable[ColumnSpec]) -> str:
    rows = ((code(row.name), row.kind, row.unit, _range(row.valid), row.text) for row in columns)
    return table(("Column", "Type", "Unit", "Range", "Holds"), rows)


def _estimate_tables() -> Iterable[str]:
    yield table(("Table", "Holds"), ((code(name), text) for name, text in ESTIMATE_TABLES.items()))
    yield f"Columns at the end of every published table of estimates:\n\n{_columns(ESTIMATE_PUBLISHED)}"
    for name, columns in ESTIMATE_MORE.items():
        yield f"Columns that `{name}` has beside those of every table of estimates:\n\n{_columns(columns)}"


def _rows(contract: TableSpec) -> str:
    further = " Further columns follow." if contract.more else ""
    return f"{contract.rows[0].upper()}{contract.rows[1:]}.{further}"


def _dim(name: str) -> str:
    return f"({name[:-1]})" if name.endswith("?") else name


def _text(text: str, required: bool) -> str:
    return text if required else f"{text} (optional)"


def _array_range(row: ArraySpec) -> str:
    if row.codes is not None:
        return ", ".join(f"{number} {meaning}" for number, meaning in row.codes.items())
    return _range(row.valid)


def _range(valid: tuple[float, float] | None) -> str:
    if valid is None:
        return ""
    low, high = (f"{round(end, 3) + 0.0:g}" for end in valid)
    return f"from {low}" if high == "inf" else f"{low} to {high}"
