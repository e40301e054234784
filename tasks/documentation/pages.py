"""The pages of the documentation that are tables of the code: they cannot disagree with it."""

from __future__ import annotations

import csv
import inspect
import io
import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from cmr_models.estimates import NOT_ESTIMABLE
from cmr_models.phenotypes.reference_ranges import REFERENCE_RANGES
from cmr_models.reasons import TABLE, TRANSIENT, Reason
from tasks.derive.phenotype_tables import dictionary_csv
from tasks.documentation.accuracy import accuracy_of
from tasks.documentation.data_model import data_model
from tasks.documentation.measurements import measurements
from tasks.documentation.validation_page import validation_page
from tasks.report.markdown import code, number, page, table

_KINDS = {
    "quarantined": "The study ends at the stage and has no numbers.",
    "absent": "The study ends at the stage because something was not acquired, or is no longer there.",
    "excluded": "One series is left out; the study goes on without it.",
    "left_out": "A ventricle does not count in one slice and frame; the study goes on.",
    "flag": "The study goes on with its numbers; the flag stands beside them.",
    "missing": "One number is NaN.",
}
_SUPPRESSED = {
    "small_cell": "The row would show a count of people, events or people without the event under the minimum.",
    "secondary": "Masked, because a small cell could be computed from it and the overall row.",
    "dominated": "One person's value makes most of the SD of the group, so that mean and SD would tell it.",
    "differencing": "The count differs by a few from that of an earlier release of the same analysis.",
}


def write_pages(folder: Path, settings: type[BaseModel], results: Path) -> list[Path]:
    """Write every generated page into ``folder``; returns their paths.

    Args:
        folder: of the documentation.
        settings: the model of ``cohort.toml``.
        results: folder of the benchmarks' results.
    """
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for name, text in pages(settings, results).items():
        path = folder / name
        path.write_text(text, encoding="utf-8")
        written.append(path)
    return written


def pages(settings: type[BaseModel], results: Path) -> dict[str, str]:
    """File name -> text of every generated page; arguments as :func:`write_pages`."""
    return {
        "data_dictionary.md": data_dictionary(),
        "data_model.md": data_model(),
        "reason_codes.md": reason_codes(),
        "reference_ranges.md": reference_ranges(),
        "settings.md": settings_page(settings),
        "settings.schema.json": json.dumps(settings.model_json_schema(), indent=2) + "\n",
        "measured.md": measurements(results),
        "accuracy.md": accuracy_of(results),
        "validation_statistics.md": validation_page(results),
    }


def data_dictionary() -> str:
    """Every column of ``tables/phenotypes.parquet``."""
    columns = csv.DictReader(io.StringIO(dictionary_csv()))
    numbers, others = [], []
    for row in columns:
        if row["unit"]:
            valid = f"{number(float(row['valid_low']))} to {number(float(row['valid_high']))}"
            cells = (row["unit"], row["definition"], row["inputs"], valid, row["ukb_field"], row["reference"])
            numbers.append((code(row["name"]), *cells))
        else:
            others.append((code(row["name"]), row["type"], row["definition"]))
    intro = (
        "Every column of `tables/phenotypes.parquet`, one row a study; a run writes the same as"
        " `tables/phenotypes_dictionary.csv`. *Range* is what can be a heart's at all, for axes and checks; it is not a"
        " normal range. *Field*: UK Biobank's field of the same quantity.\n"
    )
    return page(
        "Data dictionary",
        intro,
        "## Phenotypes\n",
        table(("Column", "Unit", "Definition", "From", "Range", "Field", "Reference"), numbers),
        "## Identity, outcome and quality\n",
        table(("Column", "Type", "Definition"), others),
    )


def reason_codes() -> str:
    """Why a study, a series, a number or an estimate is missing."""
    intro = "↻: tried again in the next run.\n"
    parts = [intro]
    for kind, meaning in _KINDS.items():
        rows = (_reason_row(row) for row in TABLE.values() if row.kind == kind)
        parts += [f"## {kind}\n", f"{meaning}\n", table(("Code", "Stage", "What happened"), rows)]
    parts += [
        "## Estimates\n",
        "Rows of the tables of estimates with status `failed`:\n",
        table(("Code", "What happened"), _code_rows(NOT_ESTIMABLE)),
        "and with status `suppressed`:\n",
        table(("Code", "What happened"), _code_rows(_SUPPRESSED)),
    ]
    return page("Reason codes", *parts)


def _reason_row(reason: Reason) -> tuple[str, str, str]:
    again = " ↻" if reason.code in TRANSIENT else ""
    return f"{code(reason.code)}{again}", reason.stage, reason.sentence


def _code_rows(sentences: Mapping[str, str]) -> Iterable[tuple[str, str]]:
    return ((code(name), sentence) for name, sentence in sentences.items())


def reference_ranges() -> str:
    """The published ranges behind the report's distributions."""
    rows = (
        (code(row.phenotype), row.sex, f"{number(row.low)} to {number(row.high)}", number(row.mean), number(row.sd),
         row.source, row.convention)
        for row in REFERENCE_RANGES
    )  # fmt: skip
    intro = (
        "Where 95 % of healthy adults lie, by sex. A background to look at: nothing is rejected by these ranges, and"
        " contouring conventions differ between sources (*first* and *second* convention of the review).\n"
    )
    columns = ("Phenotype", "Sex", "95 % of people", "Mean", "SD", "Source", "Convention")
    return page("Reference ranges", intro, table(columns, rows))


def settings_page(settings: type[BaseModel]) -> str:
    """Every setting of ``cohort.toml``: type, default and meaning, section by section."""
    schema = settings.model_json_schema()
    references = {name: field.get("$ref") for name, field in schema["properties"].items()}
    sections = {name: path.rpartition("/")[2] for name, path in references.items() if path}
    intro = (
        "One `cohort.toml`; paths are relative to the file, unknown keys are refused. An environment variable overrides"
        " the file, two underscores between section and name: `CMR_COHORT_COMPUTE__PROFILE=slurm`. The"
        " resolved settings of every run are saved under `runs/`.\n"
    )
    intro += (
        "\n[settings.schema.json](settings.schema.json) is the same as a JSON schema, with which an editor checks and"
        " completes a `cohort.toml`.\n"
    )
    parts = [intro, "## Top level\n", _settings_table(schema, settings, leave_out=sections)]
    for name, definition in sections.items():
        model = settings.model_fields[name].annotation
        assert isinstance(model, type)
        assert issubclass(model, BaseModel)
        parts += [f"## [{name}]\n", f"{_markdown(inspect.getdoc(model) or '')}\n"]
        parts.append(_settings_table(schema["$defs"][definition], model))
    return page("Settings", *parts)


def _settings_table(
    schema: Mapping[str, Any],
    model: type[BaseModel],
    leave_out: Iterable[str] = (),
) -> str:
    rows = []
    for name, field in schema["properties"].items():
        if name in leave_out:
            continue
        default, meaning = (
            model.model_fields[name].get_default(call_default_factory=True),
            field.get("description"),
        )
        required = model.model_fields[name].is_required()
        shown = "required" if required else "" if default is None else code(toml(default))
        rows.append((code(name), _kind(field), shown, "; ".join(filter(None, (meaning, _bounds(field))))))
    return table(("Setting", "Type", "Default", "Meaning"), rows)


def toml(value: Any) -> str:
    """A plain value as TOML writes it on one line."""
    if isinstance(value, Mapping):
        inner = ", ".join(f"{json.dumps(key)} = {toml(item)}" for key, item in value.items())
        return f"{{ {inner} }}" if inner else "{}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(toml(item) for item in value)}]"
    return json.dumps(value, ensure_ascii=False)


def _markdown(docstring: str) -> str:
    """Text of a docstring with its marks for code as Markdown has them."""
    return re.sub(r"(?::\w+:)?`{1,2}([^`]+)`{1,2}", r"`\1`", docstring)


def _kind(field: Mapping[str, Any]) -> str:
    alternatives = [entry for entry in field.get("anyOf", [field]) if entry.get("type") != "null"]
    chosen = alternatives[0]
    names = {
        "array": "list",
        "object": "table",
        "string": "path" if chosen.get("format") == "path" else "text",
    }
    if chosen.get("items", {}).get("format") == "path":
        return "list of paths"
    kind = str(chosen["type"])
    return names.get(kind, kind)


def _bounds(field: Mapping[str, Any]) -> str:
    signs = {
        "minimum": "at least",
        "exclusiveMinimum": "over",
        "maximum": "at most",
        "exclusiveMaximum": "under",
    }
    entries = [entry for entry in field.get("anyOf", [field]) if entry.get("type") != "null"]
    return ", ".join(f"{sign} {entries[0][name]:g}" for name, sign in signs.items() if name in entries[0])
