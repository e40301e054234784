"""Pages from values: templates with escaping, JSON that is safe inside a script, names that are safe as file names."""

from __future__ import annotations

import hashlib
import importlib.resources
import json
import math
import re
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

# Nothing is loaded from a network; no inline script, no form. Data blocks (application/json) are never executed.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; base-uri 'none'; form-action 'none'"
)
MISSING = "–"
KEY_NAME = "cmr-cohort-key"  # name of the meta element that holds the key of the page's inputs

_PACKAGE = "tasks.report"
_HEAD_BYTES = 4096
_KEY = re.compile(rf'<meta name="{KEY_NAME}" content="([^"]*)">'.encode())
_SAFE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,99}")
# What XML 1.0 does not allow: control characters, surrogates, non-characters.
_NOT_XML = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")
_IN_SCRIPT = {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026", "\u2028": "\\u2028", "\u2029": "\\u2029"}


def render(template: str, *, root: str, **values: Any) -> str:
    """Render a page from ``template``; ``root`` is the relative path to the report's folder (``""`` or ``"../"``)."""
    page = _environment().get_template(template)
    return page.render(policy=POLICY, root=root, version=package_version(), **values)


def script_json(content: Any) -> Markup:
    """``content`` as JSON that is safe inside a script element; NaN and infinities become null."""
    text = json.dumps(_json_value(content), separators=(",", ":"), allow_nan=False)
    for character, escape in _IN_SCRIPT.items():
        text = text.replace(character, escape)
    return Markup(text)


def clean_text(value: object) -> str:
    """``value`` as text without characters that XML forbids and without line breaks."""
    return " ".join(_NOT_XML.sub("\ufffd", str(value)).split())


def page_name(study: str) -> str:
    """File name of a study's page: the id itself if it is a plain name, otherwise a digest of it."""
    if _SAFE_NAME.fullmatch(study) and study != "index":
        return f"{study}.html"
    return f"study-{hashlib.blake2b(study.encode('utf-8', 'replace'), digest_size=12).hexdigest()}.html"


def page_key(path: Path) -> str | None:
    """The key in the head of a published page; None if the page has no key or does not exist."""
    try:
        with path.open("rb") as file:
            found = _KEY.search(file.read(_HEAD_BYTES))
    except FileNotFoundError:
        return None
    return found[1].decode() if found else None


def number(value: object, digits: int = 1) -> str:
    """``value`` with ``digits`` decimals; a dash where it is missing."""
    if value is None or not isinstance(value, int | float) or not math.isfinite(value):
        return MISSING
    text = f"{value:,.{digits}f}"
    return "−" + text[1:] if text.startswith("-") and text.strip("-0.,") else text.lstrip("-")


def asset(name: str) -> bytes:
    """The content of one of the package's assets."""
    return (importlib.resources.files(_PACKAGE) / "assets" / name).read_bytes()


@cache
def package_version() -> str:
    """Version of the installed distribution."""
    try:
        return version("cmr-cohort")
    except PackageNotFoundError:
        return "(not installed)"


@cache
def appearance_digest() -> str:
    """Digest of the code, templates and assets of the report. When it changes, all pages are made again."""
    files = importlib.resources.files(_PACKAGE)
    digest = hashlib.blake2b(digest_size=16)
    for folder in (files, files / "templates", files / "assets"):
        for entry in sorted(folder.iterdir(), key=lambda item: item.name):
            if entry.is_file():
                digest.update(entry.name.encode() + b"\0" + entry.read_bytes() + b"\0")
    return digest.hexdigest()


@cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("tasks.report", "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["number"] = number
    return environment


def _json_value(content: Any) -> Any:
    if isinstance(content, float) and not math.isfinite(content):
        return None
    if isinstance(content, dict):
        return {str(key): _json_value(value) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return [_json_value(value) for value in content]
    return content
