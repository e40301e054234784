"""Results of several models in one JSON file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def keep_beside_others(file: Path, model: str, found: Any) -> None:
    """Write what was ``found`` of a model into ``file``, in place of what stood there of it."""
    others = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    file.write_text(json.dumps(dict(sorted((others | {model: found}).items())), indent=1) + "\n", encoding="utf-8")
