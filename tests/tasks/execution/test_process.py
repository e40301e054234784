"""Imports and constructors leave the process as it is; the command line and Dask workers prepare it."""

import os
import platform
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tasks.execution.process import exempt_loopback_from_proxies, workers_leave_ctrl_c_to_the_command
from tasks.state.held_setting import HeldSetting

ROOT = Path(__file__).parents[3]

_PROBE = """
import numpy as np, psutil

def kept_mb():
    "Megabytes of a freed array of 120 MB that stay with the process."
    before = psutil.Process().memory_info().rss
    np.ones(120 * 2**17).sum()
    return (psutil.Process().memory_info().rss - before) / 2**20
"""

pytestmark = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc has these settings")


def _printed(code: str) -> list[str]:
    """Lines that ``code`` prints in a process of its own."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MALLOC_")}
    done = subprocess.run(
        [sys.executable, "-c", _PROBE + code], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split("\n")[:-1]


def test_importing_every_module_and_constructing_a_segmenter_changes_nothing() -> None:
    before, after, kept = _printed("""
import importlib, logging, os, pkgutil, warnings
import distributed, matplotlib, numcodecs, prefect, pydicom, torch, xarray, zarr  # what they set themselves

def settings():
    loggers = logging.root.manager.loggerDict
    levels = {name: loggers[name].level for name in ("pydicom", "zarr", "matplotlib", "distributed") if name in loggers}
    return numcodecs.blosc.use_threads, levels, logging.root.level, torch.get_num_threads(), dict(os.environ)

print(settings())
for layer in ("cmr_models", "tasks", "flows"):
    package = importlib.import_module(layer)
    for module in pkgutil.walk_packages(package.__path__, f"{layer}."):
        importlib.import_module(module.name)
from cmr_models.segmentation import Segmenter
Segmenter.load("default")
print(settings())
print(kept_mb())
""")
    assert before == after
    assert float(kept) < 20


def test_the_command_line_prepares_its_process() -> None:
    (kept,) = _printed("""
import contextlib, io
from flows.cli import main
with contextlib.redirect_stdout(io.StringIO()):
    main(["status", "--help"], standalone_mode=False)
print(kept_mb())
""")
    assert float(kept) > 100


@pytest.mark.parametrize("profile", ["in-process", "local"])
def test_what_works_on_a_cohort_is_prepared(profile: str) -> None:
    (kept,) = _printed(f"""
from tasks.execution.cluster import open_client
options = {{}} if {profile!r} == "in-process" else {{"workers": 1}}
with open_client({profile!r}, options) as client:
    print(kept_mb() if client is None else client.submit(kept_mb).result(120))
""")
    assert float(kept) > 100


def test_a_setting_is_held_until_the_last_block_ends() -> None:
    setting = {"level": 30}
    held = HeldSetting(lambda: setting["level"], lambda level: setting.update(level=level), 50)
    first, second = held.held(), held.held()
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    assert setting == {"level": 50}
    second.__exit__(None, None, None)
    assert setting == {"level": 30}


_PROXIES = ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy")


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("", "127.0.0.1,localhost,::1"),
        (" , ,", "127.0.0.1,localhost,::1"),
        ("localhost,b", "localhost,b,127.0.0.1,::1"),
    ],
)
def test_hosts_are_added_once_and_empty_ones_go(monkeypatch: pytest.MonkeyPatch, before: str, after: str) -> None:
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.setenv(name, before)
    exempt_loopback_from_proxies()
    assert os.environ["no_proxy"] == os.environ["NO_PROXY"] == after


@pytest.mark.parametrize("name", _PROXIES)
def test_loopback_needs_no_proxy(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    for other in ("NO_PROXY", "no_proxy"):
        monkeypatch.setenv(other, "intranet.example")
    monkeypatch.setenv(name, "http://proxy.example:3128")
    exempt_loopback_from_proxies()
    exempt_loopback_from_proxies()
    assert os.environ["no_proxy"] == os.environ["NO_PROXY"] == "intranet.example,127.0.0.1,localhost,::1"
    for host in ("127.0.0.1:4200", "localhost:4200", "intranet.example"):
        assert urllib.request.proxy_bypass_environment(host)
    assert not urllib.request.proxy_bypass_environment("elsewhere.example")
    assert os.environ[name] == "http://proxy.example:3128"


@pytest.mark.parametrize("name", _PROXIES)
def test_a_proxy_that_the_client_cannot_use_is_dropped(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(name, "socks5h://proxy.example:1080")
    exempt_loopback_from_proxies()
    assert name not in os.environ


_ENDS_OR_NOT = "import os, signal; os.kill(os.getpid(), signal.SIGINT); print('still here')"


def test_workers_never_see_ctrl_c_and_the_command_does() -> None:
    with workers_leave_ctrl_c_to_the_command():
        inside = subprocess.run([sys.executable, "-c", _ENDS_OR_NOT], capture_output=True, text=True, check=False)
    outside = subprocess.run([sys.executable, "-c", _ENDS_OR_NOT], capture_output=True, text=True, check=False)
    assert (inside.stdout.strip(), inside.stderr) == ("still here", "")
    assert outside.stdout == ""
    assert outside.returncode == -signal.SIGINT


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_while_workers_start_reaches_the_command_afterwards_whichever_thread_takes_it(
    number: signal.Signals,
) -> None:
    order = []
    before = signal.signal(number, lambda which, _: order.append(which))
    other = threading.Thread(target=time.sleep, args=(1,))
    other.start()  # it blocks nothing
    try:
        with workers_leave_ctrl_c_to_the_command():
            os.kill(os.getpid(), number)
            time.sleep(0.05)
            order.append("started")
        assert order == ["started", number]
        os.kill(os.getpid(), number)
        assert order == ["started", number, number]
    finally:
        signal.signal(number, before)
    other.join()


def test_what_python_does_not_handle_is_left_alone() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with workers_leave_ctrl_c_to_the_command():
            assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
        assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


def test_workers_may_be_started_by_any_thread() -> None:
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(_start_in_a_thread).result() == "still here"


def _start_in_a_thread() -> str:
    with workers_leave_ctrl_c_to_the_command():
        done = subprocess.run([sys.executable, "-c", _ENDS_OR_NOT], capture_output=True, text=True, check=False)
    return done.stdout.strip()
