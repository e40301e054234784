"""The command ``cmr-cohort``: run all stages, or one stage alone."""

from __future__ import annotations

import contextlib
import json
import os
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from flows.complaints import OneLine, one_line_errors
from flows.exit_status import ExitStatus
from flows.interrupts import interrupts_end_the_command
from flows.models import models
from flows.templates import show_templates
from flows.training import pretrain, train
from flows.withheld import original_errors
from tasks.execution.process import prepare_process

_ENVIRONMENT = {
    "DASK_LOGGING__DISTRIBUTED": "critical",  # what a worker raises comes back to the command, which tells it
    "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "180",  # the first start migrates its database
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_LOGGING_LEVEL": "CRITICAL",  # an error is told in one line, and its place in the log of the run
    "PREFECT_LOGGING_TO_API_ENABLED": "false",  # a run keeps its own log
}

_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
_COUNT = click.IntRange(min=1)
_FOLDER = click.Path(file_okay=False, path_type=Path)


def _once(ctx: click.Context, option: click.Parameter, given: tuple[Any, ...]) -> Any:
    """The value of an option that may be given once; click itself takes the last of several."""
    if len(given) > 1:
        raise click.BadParameter("it is given more than once; give one", ctx, option)
    return given[0] if given else None


_CONFIG = click.option("--config", type=_FILE, multiple=True, callback=_once, help="Settings (cohort.toml).")
_COHORT = click.option(
    "--cohort",
    "directory",
    type=_FOLDER,
    multiple=True,
    callback=_once,
    help="The cohort's folder, if not from --config.",
)
_SPEC = click.option(
    "--spec",
    type=_FILE,
    multiple=True,
    callback=_once,
    help="An analysis spec (YAML); without it, [analysis] of the settings.",
)
_MODEL = click.option("--model", help="A model of the zoo, or a folder with weights.")
_MEASURED = click.option("--model", help="Model of the predictions [default: of the settings, else the last one used].")
_CHOICES = ("studies", "participants", "lists", "forced")
_PROFILE = click.option("--profile", help="in-process, local, cuda, slurm, kubernetes or a scheduler's address.")


def _choosing(command: Any) -> Any:
    """Options of a command that may be about some studies alone."""
    for option in (
        click.option("--force", "forced", is_flag=True, help="Make it again, also what is done."),
        click.option(
            "--studies", "lists", type=_FILE, multiple=True, help="List of studies or participants, one a line."
        ),
        click.option("--participant", "participants", multiple=True, help="Only studies of this participant."),
        click.option("--study", "studies", multiple=True, help="Only this study."),
    ):
        command = option(command)
    return command


class _Commands(click.Group):
    """Commands that end with one line: of an error, or of the signal that stopped them."""

    def invoke(self, ctx: click.Context) -> Any:
        with interrupts_end_the_command(), one_line_errors():
            return super().invoke(ctx)


@click.group(cls=_Commands)
@click.version_option(package_name="cmr-cohort")
def main() -> None:
    """Process cardiac MR of a cohort, from the raw archive to published tables."""
    prepare_process()
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)


@main.command()
@click.option("--config", type=_FILE, required=True, multiple=True, callback=_once, help="Settings (cohort.toml).")
@_PROFILE
@_choosing
@click.option("--dry-run", is_flag=True, help="Show what would be done and why, as `plan` does, and do nothing.")
@click.option("--retry", is_flag=True, help="Try studies again that were given up after three attempts.")
def run(config: Path, profile: str | None, *, dry_run: bool, retry: bool, **names: Any) -> None:
    """Process everything that is new or changed, from the archive to the report.

    Of chosen studies, everything up to the tables; statistics and report are left to the next run of all.
    """
    from flows.settings import read_settings

    selection = _selection(**names)

    with _complaints(config):
        settings = read_settings(config, profile=profile)
    _check_before_work(settings)
    _check_names(settings, config)
    _check_model(settings)
    if dry_run:
        from flows.planning import only

        with only(selection):
            _show_plan(settings)
        return
    with _serving(settings, has_flow=not settings.cohort.ledger.exists()):
        from flows import planning
        from flows.progress import say

        with planning.only(selection), planning.planned_once():
            if retry:
                say(f"{planning.try_again(settings)} studies that were given up are tried again")
            if not (selection and selection.forced) and planning.count(settings) == 0:
                say(f"nothing to do: {planning.what_is_current()}")
            else:
                from flows.server import bind_server

                bind_server(settings.cohort.runs)
                from flows.cohort import cohort

                with original_errors():
                    cohort(str(config), profile)
    if selection is None or selection.is_whole:
        click.echo(f"report: {settings.cohort.reports / 'index.html'}")
    _check_set_aside(settings)


@main.command("plan")
@_COHORT
@_CONFIG
@_PROFILE
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option("--explain", "study", metavar="STUDY", help="Show for one study what would be done, and why.")
@click.option("--measured", type=_FOLDER, help="A cohort whose speeds are taken for the forecast, such as a pilot.")
def show_plan(
    directory: Path | None,
    config: Path | None,
    profile: str | None,
    study: str | None,
    measured: Path | None,
    *,
    as_json: bool,
) -> None:
    """Show what `run` would do and why, and what it would take; nothing is done.

    The forecast is made of the speeds that the cohort has measured.
    """
    from flows.settings import settings_file

    if config is None and (beside := settings_file(directory)):
        config, directory = beside, None
    settings = _settings(config=config, directory=directory, profile=profile)
    _check_before_work(settings)
    _check_model(settings)
    _show_plan(settings, study, measured, as_json=as_json)


def _show_plan(settings: Any, study: str | None = None, measured: Path | None = None, *, as_json: bool = False) -> None:
    from flows import foresight

    if study is not None:
        told = foresight.explain(settings, study)
        content: Any = {"study": study, "stages": told}
        text = foresight.explained_lines(told)
    else:
        found = foresight.foresee(settings, measured)
        content, text = foresight.plain(found), foresight.lines(found)
    click.echo(json.dumps(content, indent=1) if as_json else "\n".join(text))


@main.command()
@click.argument("sources", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path))
@_COHORT
@_CONFIG
@_PROFILE
@_choosing
def convert(sources: tuple[Path, ...], **choice: Any) -> None:
    """Add SOURCES (UK Biobank zips, DICOM folders, NIfTI, or folders of any of them) to the cohort."""
    with _recorded(is_new=True, sources=sources, **choice) as settings:
        from flows.cohort import convert as flow

        flow(settings, whole_archive=False)


@main.command()
@_MODEL
@_COHORT
@_CONFIG
@_PROFILE
@_choosing
def segment(model: str | None, **choice: Any) -> None:
    """Segment every study that has no prediction of the model."""
    with _recorded(model=model, **choice) as settings:
        _check_model(settings)
        from flows.cohort import segment as flow

        flow(settings)


@main.command()
@click.option(
    "--task", required=True, help="Task of the model card: classification_cvd, regression_ef, landmark_heatmap ..."
)
@click.option("--model", required=True, help="A model folder, weights file or hub:<task>/<data>_<view>.")
@click.option("--precision", type=click.Choice(["auto", "fp32", "bf16"]), default="auto", show_default=True)
@click.option(
    "--tokens", type=click.Choice(["mean", "all"]), default="mean", show_default=True, help="Tokens of features."
)
@click.option("--cohort-name", help="Name of the cohort (UK Biobank); tells whether the model has seen it.")
@_COHORT
@_CONFIG
@_PROFILE
def predict(config: Path | None, directory: Path | None, profile: str | None, **choice: Any) -> None:
    """Predict classes, quantities, landmarks or features (task `pretrain`) of every study with one network."""
    with _recorded(config=config, directory=directory, profile=profile) as settings:
        from flows.predict import run_command

        table = run_command(settings, **choice)
    click.echo(f"table: {table}")


@main.command()
@click.option("--predictions", help="Name of the predictions: a folder under predictions/ of the cohort.")
@click.option("--model", help="Instead of --predictions: the model that made them.")
@click.option("--task", help="With --model: what it predicted, if it does not segment.")
@click.option("--reference", type=_FILE, help="Table of reference values (CSV, Parquet) by study or participant.")
@click.option(
    "--by", "group_by", multiple=True, help="Column to repeat all results by [default: sex, vendor, centre ...]."
)
@click.option("--split", default="", help="Only studies of this split: train, validation or test.")
@click.option("--target", default="", help="Column of the reference class or value, if not that of the task.")
@click.option("--repeats", is_flag=True, help="The visits of a participant are repeated acquisitions.")
@click.option(
    "--resamples", type=click.IntRange(min=100), default=1000, show_default=True, help="Number of bootstrap resamples."
)
@click.option("--seed", default=0, show_default=True, help="Random seed of the bootstrap.")
@_COHORT
@_CONFIG
def evaluate(config: Path | None, directory: Path | None, group_by: tuple[str, ...], **choice: Any) -> None:
    """Compare predictions with references of public data sets or of a table, overall and by group."""
    from flows.evaluate import run_command

    with _recorded(has_flow=False, config=config, directory=directory) as settings:
        results = run_command(settings, group_by=group_by or None, **choice)
    click.echo(f"results: {results}")


@main.command()
@click.argument("first", metavar="A")
@click.argument("second", metavar="B")
@click.option(
    "--by", "group_by", multiple=True, help="Column to repeat all results by [default: analysis.group_by, vendor ...]."
)
@click.option(
    "--resamples", type=click.IntRange(min=100), default=1000, show_default=True, help="Number of bootstrap resamples."
)
@click.option("--seed", default=0, show_default=True, help="Random seed of the bootstrap.")
@_COHORT
@_CONFIG
def compare(config: Path | None, directory: Path | None, **choice: Any) -> None:
    """Compare the models A and B, which have both segmented the cohort: may B take the place of A?

    Phenotypes, labels and speed, overall and by group, with the worst studies. The limits stand in [compare] of the
    settings; where one does not hold, the command ends with status 4.
    """
    from flows.compare import check_promotion, run_command

    with _recorded(has_flow=False, config=config, directory=directory) as settings:
        result = run_command(settings, **choice)
    click.echo(f"comparison: {result.folder / 'index.html'}")
    check_promotion(result)


@main.command()
@_MEASURED
@_COHORT
@_CONFIG
@_PROFILE
@_choosing
def derive(**choice: Any) -> None:
    """Measure every prediction: phenotypes, curves, quality."""
    with _recorded(**choice) as settings:
        from flows.cohort import derive as flow

        flow(settings)


@main.command()
@_COHORT
@_CONFIG
@_PROFILE
@_choosing
def perfusion(**choice: Any) -> None:
    """Measure first-pass perfusion where it was acquired: flow maps, AHA segments, reserve."""
    with _recorded(**choice) as settings:
        from flows.cohort import perfusion as flow

        flow(settings)


@main.command()
@_COHORT
@_CONFIG
@_SPEC
def associate(spec: Path | None, **choice: Any) -> None:
    """Test every phenotype for association with prevalent disease."""
    _check_spec(spec)
    with _recorded(spec=spec, **choice) as settings:
        from flows.cohort import associate as flow

        _by_spec("associate", spec, settings) if spec else flow(settings)


@main.command()
@_COHORT
@_CONFIG
@_SPEC
def risk(spec: Path | None, **choice: Any) -> None:
    """Test every phenotype for association with incident disease and death, also by group."""
    _check_spec(spec)
    with _recorded(spec=spec, **choice) as settings:
        from flows.cohort import risk as flow

        _by_spec("risk", spec, settings) if spec else flow(settings)


@main.command()
@_COHORT
@_CONFIG
@_SPEC
def fairness(spec: Path | None, **choice: Any) -> None:
    """Repeat every estimate by group and intersection, with its largest gap and a decomposition of the gap."""
    _check_spec(spec)
    with _recorded(spec=spec, **choice) as settings:
        from flows.cohort import risk as flow  # which makes the fairness table of the settings

        _by_spec("fairness", spec, settings) if spec else flow(settings)


@main.command()
@_MEASURED
@_COHORT
@_CONFIG
def report(**choice: Any) -> None:
    """Make the report, a static site."""
    with _recorded(**choice) as settings:
        from flows.cohort import report as flow

        flow(settings)
    click.echo(f"report: {settings.cohort.reports / 'index.html'}")


@main.command()
@_COHORT
@_CONFIG
def status(**choice: Any) -> None:
    """Show how many studies are at which stage, and why."""
    from tasks.maintenance.places import check_cohort
    from tasks.maintenance.status import overview
    from tasks.state.ledger import open_ledger

    cohort = _settings(**choice).cohort
    check_cohort(cohort)
    with open_ledger(cohort.ledger, is_new=False) as ledger:
        for line in overview(ledger):
            click.echo(line)


@main.command("files")
@click.argument("study")
@click.option("--config", type=_FILE, required=True, help="Settings file (TOML); it names the sources.")
def show_files(study: str, config: Path) -> None:
    """Print the files of the sources that STUDY is made of; the cohort itself keeps no paths."""
    from tasks.maintenance.places import check_cohort
    from tasks.sources import inventory
    from tasks.state.ledger import open_ledger

    settings = _settings(config=config, directory=None)
    check_cohort(settings.cohort)
    with open_ledger(settings.cohort.ledger, is_new=False) as ledger:
        known = ledger.sources()
    convert = settings.convert
    units = inventory(settings.sources, known, convert.limits, follow_links=convert.follow_links).units
    paths = [path for unit in units if unit["study"] == study for path, _, _ in unit["files"]]
    if not paths:
        raise click.UsageError(f"no study of the sources is called {study}; tables/studies.parquet has their names")
    for path in paths:
        click.echo(path)


@main.command()
@_COHORT
@_CONFIG
@_PROFILE
def verify(**choice: Any) -> None:
    """Read every published file again, on all workers of the profile, and rebuild the ledger from the files."""
    from flows.planning import named_model
    from flows.progress import say, stage_progress
    from tasks.execution.cluster import open_client
    from tasks.inference.segment_stage import measured_model
    from tasks.maintenance.verification import published_files, verify_files
    from tasks.state.ledger import open_ledger

    with _recorded(has_flow=False, **choice) as settings:
        with open_ledger(settings.cohort.ledger) as ledger:
            files = published_files(settings.cohort, measured_model(ledger, named_model(settings)))
        compute, runs = settings.compute, settings.cohort.runs
        with (
            open_client(compute.profile, compute.cluster_settings, say, runs) as client,
            stage_progress("verify", len(files)) as advance,
        ):
            found = verify_files(settings.cohort, files, advance, client=client)
    for line in found.lines():
        click.echo(line)
    if found.damaged:
        raise click.exceptions.Exit(ExitStatus.FAILED)


@main.command()
@click.argument("participants", nargs=-1, required=True)
@_COHORT
@_CONFIG
def withdraw(participants: tuple[str, ...], **choice: Any) -> None:
    """Delete everything of PARTICIPANTS at once, and keep them out of the cohort from now on.

    The archive is not touched. Statistics and report are made without them by the next run.
    """
    from tasks.maintenance.withdrawal import withdraw_now
    from tasks.state.ledger import open_ledger

    with _recorded(has_flow=False, **choice) as settings, open_ledger(settings.cohort.ledger) as ledger:
        studies = withdraw_now(settings.cohort, ledger, participants)
    click.echo(f"studies withdrawn: {len(studies)}; the next `cmr-cohort run` makes statistics and report without them")


@main.command()
@click.option(
    "--key",
    "key_file",
    type=click.Path(dir_okay=False, path_type=Path),
    required=True,
    help="File with the key of the pseudonyms, made if it is not there. Keep it, and give it to nobody.",
)
@click.option("--output", type=_FOLDER, required=True, help="New folder outside the cohort.")
@_COHORT
@_CONFIG
def export(key_file: Path, output: Path, **choice: Any) -> None:
    """Write the tables of studies with pseudonyms (keyed hashes) in place of names, to give them away."""
    from flows.home import keep_out_of_the_home_directory
    from tasks.maintenance.export import export_tables
    from tasks.maintenance.places import check_cohort
    from tasks.sources.withdrawn import withdrawn_people
    from tasks.state.access import closed_to_others

    settings = _settings(**choice)
    check_cohort(settings.cohort)
    keep_out_of_the_home_directory(settings.cohort.runs)
    with closed_to_others(settings.directory, settings.access):
        found = export_tables(
            settings.cohort, output, key_file, withdrawn_people(settings.directory, settings.withdrawn)
        )
    for name, n_rows in found.items():
        click.echo(f"{output / name}: {n_rows:,} rows")


@main.command()
@click.option("--json", "as_json", is_flag=True, help="Print the findings as JSON.")
@_COHORT
@_CONFIG
def doctor(config: Path | None, directory: Path | None, *, as_json: bool) -> None:
    """Tell what this machine and a cohort are like, and what is wrong: versions, disk, locks, GPU, proxy, server."""
    from tasks.maintenance.doctor import examine

    settings = _settings(config=config, directory=directory) if config or directory else None
    found = list(examine(settings.cohort if settings else None))
    click.echo(
        json.dumps([one._asdict() for one in found], indent=1) if as_json else "\n".join(one.line() for one in found)
    )
    if any(one.verdict == "fault" for one in found):
        raise click.exceptions.Exit(ExitStatus.FAILED)


@main.command()
@click.option("--people", type=_COUNT, default=48, show_default=True, help="People in the tables.")
@click.option("--imaged", type=_COUNT, help="People with images [default: all].")
@click.option("--frames", type=_COUNT, default=25, show_default=True, help="Frames in each heart cycle.")
@click.option(
    "--without-images",
    is_flag=True,
    help="Simulate the measurements too, in place of the archive: thousands of people to try the statistics on.",
)
@click.option("--seed", default=2026, show_default=True)
@click.option("--workers", type=_COUNT, default=os.cpu_count, help="Number of processes [default: one for each core].")
@click.option("--output", type=_FOLDER, required=True)
def simulate(output: Path, workers: int, *, without_images: bool, **choice: Any) -> None:
    """Write a simulated cohort: archives like those of UK Biobank, tables, settings and the truth."""
    from flows.progress import stage_progress
    from tasks.simulation import LARGE_COHORT, SimulationSettings, write_cohort, write_measured_cohort

    if without_images:
        studies = write_measured_cohort(output, SimulationSettings(**choice, cohort=LARGE_COHORT))
        click.echo(f"simulate: {studies:,} studies in {output / 'cohort/tables/phenotypes.parquet'}")
        return
    settings = SimulationSettings(**choice)
    with stage_progress("simulate", settings.people if settings.imaged is None else settings.imaged) as advance:
        for n in write_cohort(output, settings, workers=workers):
            advance(n)


@main.command()
@click.option("--output", type=_FOLDER, default=Path("docs"), show_default=True, help="Folder of the pages.")
@click.option(
    "--results",
    type=_FOLDER,
    default=Path("benchmarks/results"),
    show_default=True,
    help="What the benchmarks measured.",
)
def docs(output: Path, results: Path) -> None:
    """Write the pages of the documentation that are generated from the code."""
    from flows.settings import CohortSettings
    from tasks.documentation.pages import write_pages

    for page in write_pages(output, CohortSettings, results):
        click.echo(page)


@main.command()
def check() -> None:
    """Check the installation."""
    from tasks.maintenance.installation import faults

    found = faults()
    for fault in found:
        click.echo(fault, err=True)
    if found:
        raise click.exceptions.Exit(ExitStatus.FAILED)


def _check_spec(spec: Path | None) -> None:
    """A spec that cannot be used, before any work."""
    from tasks.analysis.spec_file import read_spec

    if spec is not None:
        with _complaints(spec):
            read_spec(spec)


def _by_spec(stage: Any, spec: Path, settings: Any) -> None:
    from flows.analysis import analysis

    click.echo(f"results: {analysis(stage, spec, settings.directory, settings.withdrawn)}")


@main.group()
def shard() -> None:
    """Process a cohort in shards: one process each, without any server."""


_DIRECTORY = click.argument("directory", metavar="DIR", type=_FOLDER)
_PLAN = click.option("--plan", "name", default="", help="Digest of the plan [default: the only one that is open].")


@shard.command("plan")
@_DIRECTORY
@click.option("--size", type=_COUNT, default=200, show_default=True, help="Studies a shard.")
@click.option(
    "--write", "engines", multiple=True, type=click.Choice(["slurm", "wdl", "dnanexus"]), help="Write what starts it."
)
@_CONFIG
def plan_shards(directory: Path, size: int, engines: tuple[str, ...], config: Path | None) -> None:
    """Publish the plan of everything new or changed: which studies each shard has. A plan never changes.

    DIR is the cohort's folder; the settings are --config, or cohort.toml in DIR or beside it.
    """
    from flows import shards
    from tasks.batch import write_engine

    with _complaints(config):
        directory, config = shards.place(directory, config)
    if config is None:
        raise click.UsageError(f"there is no cohort.toml in {directory} or beside it; name the settings with --config")
    with _recorded(has_flow=False, is_new=True, config=config, directory=None) as settings:
        _check_model(settings)
        found = shards.plan(settings, size, config)
        folders = [write_engine(name, found, settings.cohort, settings.compute) for name in engines]
    click.echo(f"plan: {found.digest}")
    click.echo(f"shards: {found.n_shards}, with {sum(part['studies'] for part in found.content['parts'])} studies")
    for folder in folders:
        click.echo(f"written: {folder}")


@shard.command("run")
@_DIRECTORY
@click.option("--index", type=click.IntRange(min=0), required=True, help="Number of the shard, from 0.")
@_PLAN
@_CONFIG
@click.option("--files", type=_FILE, help="List of the shard's files where they lie here, in the order of the plan.")
def run_one_shard(directory: Path, **choice: Any) -> None:
    """Bring one shard through every stage, in this process. What was finished before is found again."""
    from flows import shards

    with _complaints(choice["config"]):
        counts = shards.run(directory, **choice)
    for stage, found in counts.items():
        click.echo(f"{stage}: {', '.join(f'{n} {status}' for status, n in found.items()) or 'no study'}")


@shard.command("finish")
@_DIRECTORY
@_PLAN
@_CONFIG
def finish_shards(directory: Path, name: str, config: Path | None) -> None:
    """Merge the shards when all have ended, and make the tables and the report."""
    from flows import shards
    from flows.run_record import recorded
    from tasks.batch import open_plan
    from tasks.state.store import Cohort

    with _complaints(config):
        directory, config = shards.place(directory, config)
        found = open_plan(Cohort(directory), name)
        settings = shards.settings_of(directory, found, config)
    _check_names(settings, config)
    with _serving(settings, has_flow=False), recorded(settings, "shard finish"):
        shards.finish(settings, found)
    click.echo(f"report: {settings.cohort.reports / 'index.html'}")
    _check_set_aside(settings)


main.add_command(models)
main.add_command(pretrain)
main.add_command(train)
main.add_command(show_templates)


def _selection(
    studies: tuple[str, ...] = (),
    participants: tuple[str, ...] = (),
    lists: tuple[Path, ...] = (),
    *,
    forced: bool = False,
) -> Any:
    """The studies that the command is about; None if it is about all and makes nothing again."""
    from tasks.execution.selection import Selection
    from tasks.state.mistakes import UserMistake

    try:
        found = Selection.of(studies, participants, lists, forced=forced)
    except UserMistake as error:
        raise click.UsageError(str(error)) from error
    return None if found.is_whole and not forced else found


def _check_chosen(settings: Any, selection: Any) -> None:
    """Every name that the user gave stands for a study of the cohort."""
    from tasks.state.ledger import open_ledger

    with open_ledger(settings.cohort.ledger, is_new=False) as ledger:
        selection.check({study for stage in ledger.stages() for study in ledger.entries(stage)})


def _settings(
    *,
    config: Path | None,
    directory: Path | None,
    profile: str | None = None,
    model: str | None = None,
    **changes: Any,
) -> Any:
    """Settings of the file, of the folder, and of the options, the later before the earlier."""
    from flows.settings import CohortSettings, read_settings

    if config is None and directory is None:
        raise click.UsageError("give --config FILE or --cohort DIR")
    with _complaints(config):
        base = read_settings(config) if config else CohortSettings(directory=Path(directory or "."))
        changed = base.model_dump(exclude_unset=True)
        if config and directory is not None and directory.resolve() != base.directory.resolve():
            raise click.UsageError(f"--cohort {directory} is not the directory of {config}, {base.directory}; give one")
        if directory is not None:
            changed["directory"] = directory
        if profile:
            changed["compute"] = changed.get("compute", {}) | {"profile": profile}
        if model:
            changed["segment"] = changed.get("segment", {}) | {"model": model}
        for name, value in changes.items():
            if value is not None:
                changed[name] = value
        settings = CohortSettings(**changed)
    if not settings.sources and not settings.directory.is_dir():
        raise click.UsageError(f"there is no cohort at {settings.directory}; `cmr-cohort convert` makes one")
    return settings


def _check_model(settings: Any) -> None:
    """A model that is not there, or is for no view of a cine, as the command's own message."""
    from cmr_models import zoo
    from cmr_models.contracts.names import nearest
    from tasks.inference.segment_stage import network_digests

    try:
        network_digests(settings.segment.model)
    except (FileNotFoundError, ValueError) as error:
        meant = nearest(settings.segment.model, zoo.shipped_names())
        raise click.UsageError(f"{error}{meant if 'mean' in meant else ''}") from error


def _check_names(settings: Any, config: Path | None, spec: Path | None = None) -> None:
    """A name that is nowhere, as the command's own message."""
    from flows.names import check_user_names
    from tasks.state.mistakes import UserMistake

    try:
        check_user_names(settings, config, spec)
    except UserMistake as error:
        raise click.UsageError(str(error)) from error


def _check_before_work(settings: Any, *, is_new: bool = True) -> None:
    """What can be told in the first second: the sources, the cohort, and where the work should run.

    Args:
        settings: of the cohort.
        is_new: whether the command may make a cohort; the others need one.
    """
    from tasks.execution.cluster import check_profile
    from tasks.maintenance.places import check_cohort, check_folder, check_sources

    if is_new:
        check_folder(settings.cohort)
        check_sources(settings.sources, settings.cohort)
    else:
        check_cohort(settings.cohort)
    check_profile(settings.compute.profile)


def _check_set_aside(settings: Any) -> None:
    """End with a status of its own where more studies were set aside than the settings allow."""
    from tasks.maintenance.status import set_aside
    from tasks.state.ledger import open_ledger

    with open_ledger(settings.cohort.ledger) as ledger:
        share, stage = set_aside(ledger)
    if share > settings.compute.set_aside_max:
        raise OneLine(
            f"{100 * share:.0f} % of the studies are quarantined at {stage}, more than compute.set_aside_max allows"
            f" ({100 * settings.compute.set_aside_max:.0f} %); `cmr-cohort status` gives the reasons",
            ExitStatus.SET_ASIDE,
        )


@contextlib.contextmanager
def _recorded(*, has_flow: bool = True, is_new: bool = False, spec: Path | None = None, **choice: Any) -> Iterator[Any]:
    """The settings, for a command that writes: it alone has the cohort, and its run is recorded.

    The names in the settings, or in the ``spec``, are checked first. Options of :func:`_choosing` hold for its plans.
    """
    selection = _selection(**{name: choice.pop(name) for name in _CHOICES if name in choice})
    settings = _settings(**choice)
    _check_before_work(settings, is_new=is_new)
    _check_names(settings, choice.get("config"), spec)
    if selection and not is_new:  # nothing but the archive has other studies than the ledger
        _check_chosen(settings, selection)
    with _serving(settings, has_flow=has_flow):
        from flows.planning import only
        from flows.run_record import recorded

        with recorded(settings, str(click.get_current_context().info_name)), original_errors(), only(selection):
            yield settings
    if has_flow:
        _check_set_aside(settings)


@contextlib.contextmanager
def _serving(settings: Any, *, has_flow: bool = True) -> Iterator[None]:
    """Hold the cohort; meanwhile Prefect's files are in it, and its server starts while this process still imports."""
    from flows.home import keep_out_of_the_home_directory
    from flows.server import bind_server
    from tasks.state.access import closed_to_others
    from tasks.state.runs import CohortInUse, hold

    with contextlib.ExitStack() as stack:
        stack.enter_context(closed_to_others(settings.directory, settings.access))
        try:
            stack.enter_context(hold(settings.cohort))
        except CohortInUse as error:
            raise click.ClickException(str(error)) from error
        keep_out_of_the_home_directory(settings.cohort.runs)
        if has_flow:
            bind_server(settings.cohort.runs)
        yield


@contextlib.contextmanager
def _complaints(config: Path | None) -> Iterator[None]:
    """What is wrong with settings as the command's own message."""
    from pydantic import ValidationError

    from flows.complaints import line_of_toml, of_settings

    where = config or "the options"
    try:
        yield
    except tomllib.TOMLDecodeError as error:
        found = line_of_toml(error, config) if config else 0
        line = f", line {found}" if found else ""
        raise click.UsageError(f"{where} is not valid TOML{line}: {error}") from error
    except ValidationError as error:
        raise click.UsageError("; ".join(of_settings(error, config))) from error
