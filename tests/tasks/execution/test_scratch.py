"""A process has a folder of its own for what does not fit into memory; the next one removes it where it was killed."""

import multiprocessing
import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from tasks.execution import scratch
from tasks.execution.job_worker import main as job_worker
from tasks.execution.scratch import PREFIX, own_scratch, remove_all, remove_leftovers

_HOLDS = """
import sys
from pathlib import Path
from tasks.execution.scratch import own_scratch
with own_scratch(Path(sys.argv[1])) as folder:
    (folder / "spilled").mkdir()
    (folder / "spilled/part").write_bytes(b"somebody's")
    print(folder, flush=True)
    sys.stdin.read()
"""


def _holder(place: Path) -> tuple["subprocess.Popen[str]", Path]:
    """Another process, and its folder."""
    process = subprocess.Popen(
        [sys.executable, "-c", _HOLDS, str(place)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    return process, Path(process.stdout.readline().strip())


@pytest.fixture
def killed(tmp_path: Path) -> Path:
    """The folder of a process that was killed."""
    process, folder = _holder(tmp_path)
    process.kill()
    process.communicate()
    assert (folder / "spilled/part").exists()
    return folder


def test_the_folder_is_new_for_its_owner_alone_and_gone_at_the_end(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        with own_scratch(tmp_path / "not there yet") as first, own_scratch(tmp_path / "not there yet") as second:
            assert first != second
            assert {stat.S_IMODE(folder.stat().st_mode) for folder in (first, second)} == {0o700}
            (first / "a").mkdir()
            (first / "a/b").write_bytes(b"c")
    finally:
        os.umask(before)
    assert not list((tmp_path / "not there yet").iterdir())


def test_the_settings_of_dask_name_the_place_else_it_is_that_of_temporary_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import dask

    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with dask.config.set({"temporary-directory": None}), own_scratch() as folder:
        assert folder.parent == tmp_path
    with dask.config.set({"temporary-directory": str(tmp_path / "set")}), own_scratch() as folder:
        assert folder.parent == tmp_path / "set"


def test_what_a_killed_process_left_is_removed_by_the_next_one_and_what_lives_is_not(
    tmp_path: Path, killed: Path
) -> None:
    process, living = _holder(tmp_path)
    assert not killed.exists()
    with own_scratch(tmp_path):
        assert (living / "spilled/part").read_bytes() == b"somebody's"
    process.communicate("")
    assert not living.exists()


def test_one_that_is_stopped_but_lives_keeps_its_folder(tmp_path: Path) -> None:
    process, folder = _holder(tmp_path)
    process.send_signal(signal.SIGSTOP)
    remove_leftovers(tmp_path)
    assert (folder / "spilled/part").exists()
    process.kill()
    process.communicate()
    remove_leftovers(tmp_path)
    assert not folder.exists()


def test_links_are_not_followed(tmp_path: Path, killed: Path) -> None:
    precious = tmp_path / "precious"
    precious.mkdir()
    for name in (".lock", "mine"):
        (precious / name).write_bytes(b"kept")
    (tmp_path / f"{PREFIX}link").symlink_to(precious)
    (killed / "inside").symlink_to(precious)
    (killed / "spilled/file").symlink_to(precious / "mine")
    (tmp_path / f"{PREFIX}lock").mkdir()
    (tmp_path / f"{PREFIX}lock/.lock").symlink_to(precious / ".lock")
    (tmp_path / f"{PREFIX}file").write_bytes(b"no folder")
    remove_leftovers(tmp_path)
    assert not killed.exists()
    assert sorted(path.name for path in precious.iterdir()) == [".lock", "mine"]
    assert {path.name for path in tmp_path.iterdir()} == {
        "precious", f"{PREFIX}link", f"{PREFIX}lock", f"{PREFIX}file",
    }  # fmt: skip


def test_a_folder_without_a_lock_is_removed_if_it_is_empty_and_else_left(tmp_path: Path) -> None:
    """Who may rename in the place could give our name to any folder of this user."""
    for name in ("empty", "renamed"):
        (tmp_path / f"{PREFIX}{name}").mkdir()
    (tmp_path / f"{PREFIX}renamed/thesis").write_bytes(b"mine")
    (tmp_path / "cmr-cohort-of-another-machine-x").mkdir()
    remove_leftovers(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {f"{PREFIX}renamed", "cmr-cohort-of-another-machine-x"}


def test_a_folder_that_takes_the_place_of_a_leftover_is_not_emptied(
    tmp_path: Path, killed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Exchanged after it was looked at, before it is emptied."""
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/thesis").write_bytes(b"mine")
    empty = scratch._empty

    def exchanged(folder: Path, descriptor: int) -> None:
        folder.rename(tmp_path / "taken away")
        (tmp_path / "mine").rename(folder)
        empty(folder, descriptor)

    monkeypatch.setattr(scratch, "_empty", exchanged)
    remove_leftovers(tmp_path)
    assert (killed / "thesis").read_bytes() == b"mine"
    assert not list((tmp_path / "taken away").iterdir())


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make a folder of another user")
def test_what_another_user_has_made_is_left_to_them(tmp_path: Path) -> None:
    theirs = tmp_path / f"{PREFIX}theirs"
    theirs.mkdir()
    (theirs / ".lock").touch()
    (theirs / "a").touch()
    os.chown(theirs, 65534, 65534)
    remove_leftovers(tmp_path)
    assert sorted(path.name for path in theirs.iterdir()) == [".lock", "a"]


def _use(place: Path, n: int) -> None:
    for _ in range(n):
        with own_scratch(place) as folder:
            (folder / "a").write_bytes(b"b")
            remove_leftovers(place)
            assert (folder / "a").read_bytes() == b"b"


def test_processes_that_begin_and_end_at_once_never_lose_a_folder_that_is_in_use(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=_use, args=(tmp_path, 150)) for _ in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0] * 4
    assert not list(tmp_path.iterdir())


def test_a_folder_that_was_removed_before_it_was_locked_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make, made = scratch.tempfile.mkdtemp, list[Path]()

    def make_and_lose(prefix: str, dir: Path) -> str:
        made.append(Path(make(prefix=prefix, dir=dir)))
        if len(made) == 1:
            remove_leftovers(tmp_path)
        return str(made[-1])

    monkeypatch.setattr(scratch.tempfile, "mkdtemp", make_and_lose)
    with own_scratch(tmp_path) as folder:
        assert len(made) == 2
        assert folder == made[1]
        assert not made[0].exists()


def test_a_process_that_ends_at_once_removes_its_folder(tmp_path: Path) -> None:
    with own_scratch(tmp_path):
        remove_all()
        assert not list(tmp_path.iterdir())


_SAYS_WHERE = """
import os, sys
folder = sys.argv[-1]
print(*sys.argv[1:-1], oct(os.stat(folder).st_mode & 0o777), os.path.dirname(folder))
open(os.path.join(folder, "spilled"), "w").close()
"""


@pytest.mark.parametrize("given", [["--local-directory", "{}"], ["--local-directory={}"]])
def test_the_worker_of_a_job_runs_in_a_folder_of_its_own_where_it_was_told(
    given: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "stands_for_dask_worker.py").write_text(_SAYS_WHERE)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "argv", list(sys.argv))
    words = [word.format(tmp_path / "fast") for word in given]
    job_worker(["stands_for_dask_worker", "tls://a:1", *words, "--nthreads", "1"])
    assert capsys.readouterr().out.split() == [
        "tls://a:1", "--nthreads", "1", "--local-directory", "0o700", str(tmp_path / "fast"),
    ]  # fmt: skip
    assert not list((tmp_path / "fast").iterdir())
