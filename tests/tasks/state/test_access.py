"""A cohort is for whom the settings say: nobody else enters its folder, or turns its lock into a file of theirs."""

import os
import stat
from pathlib import Path

import pytest

from tasks.state.access import Access, closed_to_others
from tasks.state.mistakes import UserMistake
from tasks.state.runs import hold, open_run
from tasks.state.store import Cohort, publish_bytes


def _mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.parametrize(
    ("access", "folder", "file"), [("owner", 0o700, 0o600), ("group", 0o770, 0o660), ("everyone", 0o775, 0o664)]
)
def test_a_new_cohort_is_for_whom_the_settings_say(tmp_path: Path, access: Access, folder: int, file: int) -> None:
    before = os.umask(0o022)
    root = tmp_path / "new" / "cohort"
    try:
        with closed_to_others(root, access), open_run(Cohort(root), {}):
            publish_bytes(b"x", root / "studies" / "ab" / "one.zarr.zip")
        assert os.umask(0o022) == 0o022  # as it was
    finally:
        os.umask(before)
    assert [_mode(path) for path in (root, root / "studies", root / "studies/ab")] == [folder] * 3
    assert _mode(root / "studies/ab/one.zarr.zip") == file
    assert _mode(next(root.glob("runs/*/settings.json"))) == file


def test_an_older_cohort_is_closed_and_one_that_is_closed_is_not_opened(tmp_path: Path) -> None:
    (tmp_path / "old").mkdir()
    (tmp_path / "old").chmod(0o755)
    with closed_to_others(tmp_path / "old", "owner"):
        assert _mode(tmp_path / "old") == 0o700
    with closed_to_others(tmp_path / "old", "everyone"):
        assert _mode(tmp_path / "old") == 0o700


def test_what_the_group_shares_keeps_its_group(tmp_path: Path) -> None:
    (tmp_path / "shared").mkdir()
    (tmp_path / "shared").chmod(0o2775)
    with closed_to_others(tmp_path / "shared", "group"):
        assert _mode(tmp_path / "shared") == 0o2770


def test_a_lock_that_is_a_link_is_refused_and_what_it_leads_to_is_untouched(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious")
    cohort = Cohort(tmp_path / "cohort")
    cohort.root.mkdir()
    lock = cohort.root / ".lock"
    for make in (lambda: lock.symlink_to(victim), lambda: lock.symlink_to(tmp_path / "new"), lambda: os.mkfifo(lock)):
        make()
        with pytest.raises(UserMistake, match=r"\.lock is a link or no file; remove it"), hold(cohort):
            pass
        lock.unlink()
    assert victim.read_text() == "precious"
    assert not (tmp_path / "new").exists()
    with hold(cohort):
        assert _mode(lock) == 0o600
    lock.write_text("kept")
    with hold(cohort):
        assert lock.read_text() == "kept"
