"""The documentation agrees with the code: generated pages, commands, links, settings, examples."""

import re
import shlex
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import numpy as np
import pytest

from cmr_models import phenotypes
from cmr_models.contracts import FILES
from cmr_models.phenotypes.rows import ventricles
from cmr_models.reasons import TABLE
from cmr_models.segmentation import segment_sax
from cmr_models.simulate import Heart, HeartTraits, ImagingSettings, Packaging, simulate_study, ukb_archives
from flows.cli import main
from flows.settings import CohortSettings, read_settings
from tasks.convert.conversion import convert_shard
from tasks.convert.convert_stage import planned_units
from tasks.derive.derivation import derive_chunk
from tasks.derive.derive_stage import derive_units
from tasks.derive.phenotype_tables import write_tables
from tasks.documentation.pages import pages, toml
from tasks.inference.segment_stage import segment_units
from tasks.inference.segmentation import segment_chunk
from tasks.report.markdown import table
from tasks.sources import inventory
from tasks.state.ledger import Entry, open_ledger
from tasks.state.store import Cohort, load_tree

ROOT = Path(__file__).parents[2]
GENERATED = pages(CohortSettings, ROOT / "benchmarks/results")
TOP = ("README.md", "CHANGELOG.md", "CONTRIBUTING.md", "infra/README.md")
WRITTEN = (*(ROOT / name for name in TOP), *sorted((ROOT / "docs").rglob("*.md")))
README_WORDS = 1000


def _name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def _is_history(path: Path) -> bool:
    """Whether a page speaks of former versions, with their paths."""
    return path.name == "CHANGELOG.md" or "adr" in path.parts


def _blocks(path: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", path.read_text(), re.MULTILINE | re.DOTALL)


def _anchors(path: Path) -> set[str]:
    titles = re.findall(r"^#+ (.*)$", path.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


# generated pages


@pytest.mark.parametrize("name", GENERATED)
def test_a_generated_page_is_up_to_date(name: str) -> None:
    assert (ROOT / "docs" / name).read_text() == GENERATED[name], "run `make docs`"


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("data_dictionary.md", [row.name for row in phenotypes.PHENOTYPES]),
        ("data_model.md", [row.name for spec in FILES for group in spec.groups for row in group.arrays]),
        ("reason_codes.md", [*TABLE, "separation", "secondary"]),
        ("settings.md", ["removed_max", "study_pages_max", "CMR_COHORT_COMPUTE__PROFILE"]),
    ],
)
def test_a_generated_page_names_every_row_of_its_table(name: str, words: list[str]) -> None:
    assert [word for word in words if word not in GENERATED[name]] == []


def test_every_setting_has_a_meaning() -> None:
    rows = re.findall(r"^\| `(\w+)` \| .* \| (.*) \|$", GENERATED["settings.md"], re.MULTILINE)
    assert len(rows) > 20
    assert [setting for setting, meaning in rows if not meaning] == []


def test_text_in_a_cell_cannot_end_it() -> None:
    assert table(("a",), [("x | y\nz",)]) == "| a |\n| --- |\n| x \\| y z |\n"


@pytest.mark.parametrize("value", ['a "quoted" µ', 0.2, True, [1, 2], {"a/b": ["x"]}, {}])
def test_a_default_is_written_as_toml_reads_it(value: Any) -> None:
    assert tomllib.loads(f"x = {toml(value)}") == {"x": value}


# what the text refers to


@pytest.mark.parametrize("path", WRITTEN, ids=_name)
def test_internal_links_resolve(path: Path) -> None:
    broken = []
    for target in re.findall(r"\]\(([^)\s]+)\)", path.read_text()):
        if re.match(r"https?:", target):
            continue
        file, _, anchor = target.partition("#")
        there = (path.parent / file).resolve() if file else path
        if not there.exists() or (anchor and anchor not in _anchors(there)):
            broken.append(target)
    assert broken == []


def _commands(path: Path) -> Iterator[list[str]]:
    """Words after ``cmr-cohort``, in indented blocks and in running text."""
    text = path.read_text()
    indented = re.findall(r"^    (.*cmr-cohort .*)$", text, re.MULTILINE)
    for line in [*indented, *re.findall(r"`([^`\n]*cmr-cohort [^`\n]*)`", text)]:
        yield shlex.split(line.partition("cmr-cohort ")[2].replace("'", ""), comments=True)


@pytest.mark.parametrize("path", WRITTEN, ids=_name)
def test_every_command_exists_with_its_options(path: Path) -> None:
    for words in _commands(path):
        if words[0].startswith("-") or not words[0].isalpha():
            continue
        assert words[0] in main.commands, f"cmr-cohort {' '.join(words)}"
        command = main.commands[words[0]]
        command = getattr(command, "commands", {}).get((*words, "")[1], command)
        known = {option for parameter in command.params for option in parameter.opts}
        assert {word for word in words if word.startswith("--")} - known <= {"--help"}, words


def test_the_stages_that_the_readme_names_are_commands() -> None:
    line = next(
        line for line in (ROOT / "README.md").read_text().splitlines() if "Each stage is also a command" in line
    )
    stages = re.findall(r"`(\w+)`", line.partition("Each stage")[2])
    assert len(stages) == 6
    assert set(stages) <= set(main.commands)
    assert all(isinstance(command, click.Command) for command in main.commands.values())


@pytest.mark.parametrize("path", WRITTEN, ids=_name)
def test_every_make_target_exists(path: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"(?:^    |`)make ([a-z-]+)", path.read_text(), re.MULTILINE)) <= targets


def test_the_guide_names_only_known_reasons_and_every_quarantine() -> None:
    text = (ROOT / "docs/guide.md").read_text()
    in_tables = set(re.findall(r"^\| `(\w+)` \|", text, re.MULTILINE))
    assert in_tables <= set(TABLE)
    quarantines = {code for code, reason in TABLE.items() if reason.kind == "quarantined"}
    assert [code for code in sorted(quarantines) if f"`{code}`" not in text] == []


# examples


@pytest.mark.parametrize("name", ["README.md", "docs/your_data.md"])
def test_the_settings_of_a_page_are_read(name: str, tmp_path: Path) -> None:
    (block,) = _blocks(ROOT / name, "toml")
    (tmp_path / "archive").mkdir()
    (tmp_path / "cohort.toml").write_text(block)
    settings = read_settings(tmp_path / "cohort.toml")
    assert settings.sources == (tmp_path / "archive",)
    assert settings.compute.profile == "local"


def test_the_python_example_of_the_readme_runs() -> None:
    (example,) = _blocks(ROOT / "README.md", "python")
    names: dict[str, Any] = {}
    exec(example, names)
    assert names["segment_sax"] is segment_sax
    assert names["labels"].dtype == np.uint8
    assert not names["labels"].any()


def test_the_examples_of_the_python_interface_run(capsys: pytest.CaptureFixture[str]) -> None:
    four_chamber, rows = _blocks(ROOT / "docs/more_analyses.md", "python")
    names: dict[str, Any] = {}
    exec(four_chamber, names)
    assert names["labels"].shape == (2, 1, 128, 128)
    exec(rows, names)
    assert capsys.readouterr().out.strip().endswith("%")


def test_the_phenotype_of_the_documentation_is_one_function_and_one_row() -> None:
    function, row = _blocks(ROOT / "docs/add_a_phenotype.md", "python")
    names = dict(vars(ventricles))
    exec(function, names)
    added = eval(row, names)
    assert set(added.inputs) <= {known.name for known in phenotypes.PHENOTYPES}
    assert added.function(70.0, 105.0) == pytest.approx(70.0)  # 105 g are 100 mL


def test_the_files_that_a_page_tells_to_edit_are_there() -> None:
    text = (ROOT / "docs/add_a_phenotype.md").read_text()
    (version,) = re.findall(r"`VERSION` of the derive stage in `([\w/.]+)`", text)
    assert re.search(r"^VERSION = \d+", (ROOT / version).read_text(), re.MULTILINE)
    (cases,) = re.findall(r"`(tests/[\w/.]+)`", text)
    assert (ROOT / cases).is_file()


@pytest.mark.parametrize("path", [path for path in WRITTEN if not _is_history(path)], ids=_name)
def test_every_file_of_ours_that_a_page_names_is_there(path: Path) -> None:
    named = re.findall(r"`((?:cmr_models|tasks|flows|tests|benchmarks|infra|notebooks)/[\w./-]+)`", path.read_text())
    assert [name for name in named if not (ROOT / name).exists()] == []


def test_moved_modules_are_where_the_page_says() -> None:
    rows = re.findall(r"^\| `([\w.]+)` \| `([\w.]+)` \|$", (ROOT / "docs/moved_modules.md").read_text(), re.MULTILINE)
    assert len(rows) > 150
    assert [new for _, new in rows if not _is_module(new)] == []
    assert [old for old, _ in rows if _is_module(old)] == []


def _is_module(name: str) -> bool:
    path = ROOT.joinpath(*name.split("."))
    return path.with_suffix(".py").is_file() or (path / "__init__.py").is_file()


# the whole


def test_the_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text().split()) <= README_WORDS


def test_the_index_names_every_page_once() -> None:
    linked = re.findall(r"^\| \[[^\]]+\]\(([^)]+)\) \|", (ROOT / "docs/index.md").read_text(), re.MULTILINE)
    own = [name for name in linked if not name.startswith("..") and name != "adr"]
    assert sorted(own) == sorted(path.name for path in (ROOT / "docs").glob("*.md") if path.name != "index.md")


@pytest.fixture(scope="module")
def small_cohort(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One simulated person, converted, segmented and derived."""
    folder = tmp_path_factory.mktemp("documented")
    rng = np.random.default_rng(5)
    imaging = ImagingSettings(n_frames=8, matrix=(128, 128), pixel_mm=2.4)
    study = simulate_study(Heart(HeartTraits(), rng), imaging, rng, ("sax",))
    packaging = Packaging(manifest_name="manifest.csv", spacing_tag=True)
    for name, content in ukb_archives(study, eid="1000012", rng=rng, packaging=packaging).items():
        (folder / name).write_bytes(content)
    root = folder / "cohort"
    converted = convert_shard(planned_units(inventory([folder]).units, {}), str(root), {})
    entries = {o.study: Entry(o.status, o.reason, o.key, o.wanted) for o in converted}
    segmented = segment_chunk(segment_units(entries, {}), str(root), {})
    predictions = {o.study: Entry(o.status, o.reason, o.key, o.wanted) for o in segmented}
    derived = derive_chunk(derive_units(predictions, model="default"), str(root), {})
    with open_ledger(Cohort(root).ledger) as ledger:
        ledger.record([*converted, *segmented, *derived])
        write_tables(ledger, Cohort(root))
    return root


def test_the_example_of_the_data_model_runs(small_cohort: Path) -> None:
    (example,) = _blocks(ROOT / "docs/data_model.md", "python")
    names: dict[str, Any] = {"root": small_cohort, "study": "1000012-2"}
    exec(example, names)
    assert names["lv_ml"].sizes == {"frame": 8}
    assert names["lv_ml"].max() > 30


def test_every_variable_and_attribute_of_the_files_is_described(small_cohort: Path) -> None:
    text = (ROOT / "docs/data_model.md").read_text()
    cohort = Cohort(small_cohort)
    for path in (cohort.study("1000012-2"), cohort.prediction("default", "1000012-2")):
        tree = load_tree(path)
        variables = [name for node in tree.children.values() for name in node.data_vars]
        attributes = [name for node in tree.subtree for name in node.attrs]
        assert [name for name in (*variables, *attributes) if f"`{name}`" not in text] == []
