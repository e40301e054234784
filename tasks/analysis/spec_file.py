"""The analysis spec as a file: read, checked, hashed, compared with the one that was registered."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import yaml

from cmr_models.analysis.spec import StudySpec, departures
from cmr_models.contracts.bounded_yaml import TooManyNodesError, load_yaml
from cmr_models.contracts.foreign import faults_as, read_text
from tasks.state.mistakes import UserMistake
from tasks.state.store import digest


@dataclass(frozen=True)
class SpecFile:
    """A spec that was read.

    Attributes:
        spec: its content.
        folder: where its relative paths begin.
        departures: what differs from the registered spec, and why.
        registered_digest: of the registered spec; ``""`` without one.
    """

    spec: StudySpec
    folder: Path
    departures: tuple[dict[str, str], ...] = ()
    registered_digest: str = ""

    @property
    def digest(self) -> str:
        """Digest of what is estimated, whatever the order of keys, the comments and the places of the files."""
        return spec_digest(self.spec)

    def path(self, name: str) -> Path:
        """A path of the spec, relative to it.

        Raises:
            FileNotFoundError: nothing is there.
        """
        path = self.folder / name
        if not path.is_file():
            raise FileNotFoundError(f"the spec names {name}, which is not in its folder")
        return path


def spec_digest(spec: StudySpec) -> str:
    """Digest of what a spec estimates."""
    return digest(spec.content())


def read_spec(path: Path) -> SpecFile:
    """Read and check ``analysis.yaml``, and the registered spec that it names.

    Raises:
        FileNotFoundError: the file, or the registered one, is not there.
        UserMistake: the file is no YAML, holds no mapping, or names a key twice.
        pydantic.ValidationError: a key is unknown, or a value impossible.
    """
    spec = StudySpec.model_validate(_content(path))
    here = path.resolve().parent
    if not spec.registered:
        return SpecFile(spec, here)
    before = StudySpec.model_validate(_content(here / spec.registered))
    return SpecFile(spec, here, tuple(departures(spec, before)), spec_digest(before))


def _content(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise FileNotFoundError(f"there is no spec {path.name}; `cmr-cohort templates ukb` prints an example")
    with faults_as(partial(_unreadable, path), UserMistake, OSError):
        content = _parsed(path)
    if not isinstance(content, dict):
        found = "is empty" if content is None else f"holds a {type(content).__name__}"
        raise UserMistake(f"{path} {found}; a spec is keys with values, `cmr-cohort templates ukb` prints an example")
    return content


def _parsed(path: Path) -> Any:
    """The values in a spec.

    Raises:
        UserMistake: it is no YAML, or names a key twice.
    """
    try:
        return load_yaml(read_text(path), _Strict)
    except UnicodeDecodeError:
        raise UserMistake(f"{path}: the spec is not UTF-8; save the file as UTF-8 text") from None
    except (_RepeatedKeys, TooManyNodesError) as error:
        raise UserMistake(f"{path}: {error}") from error
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise UserMistake(f"{path}, line {line}: not valid YAML, {error.problem or error.context}") from error


def _unreadable(path: Path, kind: str) -> UserMistake:
    return UserMistake(f"{path}: the spec cannot be read ({kind}); `cmr-cohort templates ukb` prints an example")


class _RepeatedKeys(ValueError):
    """A key is given twice."""


class _Strict(yaml.SafeLoader):  # type: ignore[misc]  # yaml has no types
    """YAML in which a key that is given twice is an error."""


def _mapping(loader: _Strict, node: yaml.MappingNode) -> dict[Any, Any]:
    keys = [loader.construct_object(key) for key, _ in node.value]
    repeated = sorted({str(key) for key in keys if keys.count(key) > 1})
    if repeated:
        raise _RepeatedKeys(f"keys {repeated} are given twice (line {node.start_mark.line + 1})")
    return {loader.construct_object(key): loader.construct_object(value, deep=True) for key, value in node.value}


_Strict.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _mapping)


def as_json(file: SpecFile) -> bytes:
    """The resolved spec with its digest and its departures, for the folder of the results."""
    content = {
        "digest": file.digest,
        "registered_digest": file.registered_digest,
        "departures": list(file.departures),
        "spec": file.spec.model_dump(mode="json"),
    }
    return json.dumps(content, indent=1, sort_keys=True).encode()
