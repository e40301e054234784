"""Who has not the credentials of a cluster can neither talk to it nor find a page of it."""

import asyncio
import contextlib
import http.client
import json
import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import psutil
import pytest

from tasks.execution import credentials as made
from tasks.execution.cluster import check_profile, open_client
from tasks.state.mistakes import UserMistake

pytestmark = pytest.mark.filterwarnings("ignore")

_ATTACK = """
import asyncio, json, os, sys
from distributed import Security
from distributed.core import rpc
from distributed.protocol.pickle import dumps

own = Security.temporary()
if os.getuid() == 0:  # now that all is imported, which another user could not do from a home directory
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)

def run(dask_scheduler=None, dask_worker=None):
    return "as " + str(os.getuid())

async def attempt(address, security, timeout):
    try:
        link = rpc(address, timeout=timeout, connection_args=security.get_connection_args("client") if security else {})
        got = await asyncio.wait_for(link.run_function(function=dumps(run), args=dumps(()), kwargs=dumps({})), timeout)
        return f"ran: {got}"
    except BaseException as error:
        return f"refused: {type(error).__name__}"

async def all_of():
    for address in json.loads(sys.argv[1]):
        bare = address.partition("://")[2]
        for scheme, security in (("tcp", None), ("tls", own)):
            print(bare, await attempt(f"{scheme}://{bare}", security, 8), flush=True)

asyncio.run(all_of())
"""


def _attack(addresses: list[str]) -> list[str]:
    """What a process without the credentials, of another user where these tests are root's, gets from each address."""
    done = subprocess.run(
        [sys.executable, "-c", _ATTACK, json.dumps(addresses)],
        cwd="/", capture_output=True, text=True, timeout=240, check=False,
    )  # fmt: skip
    lines = done.stdout.splitlines()
    assert len(lines) == 2 * len(addresses), done.stderr
    return lines


@pytest.fixture(scope="module")
def client() -> Iterator[Any]:
    with open_client("local", {"workers": 1}) as client:
        yield client


def _addresses(client: Any) -> list[str]:
    workers = client.scheduler_info()["workers"]
    return [client.scheduler.address, *workers, *(worker["nanny"] for worker in workers.values())]


def _listening(process: psutil.Process) -> list[Any]:
    family = [process, *process.children(recursive=True)]
    return [(c.laddr.ip, c.laddr.port) for p in family for c in p.net_connections("inet") if c.status == "LISTEN"]


def test_the_attack_succeeds_on_a_scheduler_without_credentials() -> None:
    from distributed import LocalCluster

    with LocalCluster(n_workers=0, dashboard_address="127.0.0.1:0") as cluster:
        lines = _attack([cluster.scheduler_address])
    assert "ran" in lines[0]
    assert f"as {os.getuid()}" in lines[0]


def test_nobody_else_runs_code_on_scheduler_worker_or_nanny(client: Any) -> None:
    addresses = _addresses(client)
    assert len(addresses) == 3
    assert all(address.startswith("tls://127.0.0.1:") for address in addresses)
    lines = _attack(addresses)
    assert all("refused" in line for line in lines), lines
    assert client.submit(os.getuid).result(60) == os.getuid()  # and it lives on


def test_a_cluster_listens_on_loopback_alone_and_shows_no_page(client: Any) -> None:
    listening = _listening(psutil.Process())
    assert {ip for ip, _ in listening} == {"127.0.0.1"}
    answered = {port: _status(port, page) for _, port in listening for page in ("/status", "/info/main/workers.html")}
    assert set(answered.values()) <= {None, http.client.NOT_FOUND}
    assert http.client.NOT_FOUND in answered.values()


def _status(port: int, page: str) -> int | None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", page)
        return connection.getresponse().status
    except (OSError, http.client.HTTPException):
        return None  # it speaks another protocol
    finally:
        connection.close()


def test_the_key_is_on_no_command_line_and_in_no_environment(client: Any) -> None:
    line = client.security.tls_worker_key.splitlines()[1]
    for process in (psutil.Process(), *psutil.Process().children(recursive=True)):
        assert line not in " ".join([*process.cmdline(), *process.environ().values()])


def test_every_cluster_has_credentials_of_its_own() -> None:
    first, second = made.temporary_credentials(), made.temporary_credentials()
    assert first.require_encryption
    assert first.tls_worker_key != second.tls_worker_key


def test_files_of_credentials_are_for_their_owner_alone_and_go_with_the_cluster(tmp_path: Path) -> None:
    os.chmod(tmp_path, 0o755)
    with made.credentials_in_files(tmp_path / "runs") as credentials:
        files = [Path(path) for path in (credentials.tls_ca_file, credentials.tls_worker_key)]
        assert [stat.S_IMODE(path.stat().st_mode) for path in files] == [0o600, 0o600]
        assert stat.S_IMODE(files[0].parent.stat().st_mode) == 0o700
        assert "PRIVATE KEY" in files[1].read_text()
    assert list((tmp_path / "runs").iterdir()) == []


def test_files_of_credentials_go_where_the_process_ends_at_once_or_was_killed(tmp_path: Path) -> None:
    with made.credentials_in_files(tmp_path):
        made.remove_all()
        assert list(tmp_path.iterdir()) == []
    left = tmp_path / f"{made.PREFIX}killed"
    left.mkdir()
    (tmp_path / "20260101T000000-1").mkdir()
    made.sweep(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["20260101T000000-1"]


def test_the_scheduler_of_a_user_is_spoken_to_as_the_settings_of_dask_say(tmp_path: Path) -> None:
    """A standing cluster with certificates in files, named in Dask's configuration."""
    import dask
    from distributed import LocalCluster

    with made.credentials_in_files(tmp_path) as credentials:
        tls = {"distributed.comm.tls.ca-file": credentials.tls_ca_file}
        for role in ("client", "scheduler", "worker"):
            tls[f"distributed.comm.tls.{role}.cert"] = credentials.tls_worker_cert
            tls[f"distributed.comm.tls.{role}.key"] = credentials.tls_worker_key
        with LocalCluster(n_workers=1, dashboard_address="127.0.0.1:0", security=credentials) as cluster:
            address = cluster.scheduler_address
            assert address.startswith("tls://")
            with dask.config.set(tls):
                check_profile(address)
                with open_client(address) as client:
                    assert client is not None
                    assert client.submit(os.getpid).result(60) != os.getpid()
            with pytest.raises(UserMistake, match=r"distributed\.comm\.tls"):
                check_profile(address)


def test_an_option_cannot_take_the_credentials_away() -> None:
    with open_client("local", {"workers": 1, "security": False}) as client:
        assert client is not None
        assert client.scheduler.address.startswith("tls://")


def test_a_cluster_of_gpus_has_credentials_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """`LocalCUDACluster` hands what it does not know to `LocalCluster`, which stands in for it."""
    from distributed import LocalCluster

    monkeypatch.setitem(sys.modules, "dask_cuda", SimpleNamespace(LocalCUDACluster=LocalCluster))
    with open_client("cuda", {"workers": 1}) as client:
        assert client is not None
        assert all(address.startswith("tls://127.0.0.1:") for address in _addresses(client))


# Kubernetes: as the operator's client makes the resource (dask-kubernetes 2026.3)

_SPEC = {
    "apiVersion": "kubernetes.dask.org/v1",
    "kind": "DaskCluster",
    "metadata": {"name": "cohort-1"},
    "spec": {
        "worker": {
            "replicas": 1,
            "spec": {
                "containers": [
                    {
                        "name": "worker",
                        "args": ["dask-worker", "--name", "one", "--dashboard", "--dashboard-address", "0"],
                        "env": [{"name": "A", "value": "b"}],
                    }
                ]
            },
        },
        "scheduler": {
            "spec": {
                "containers": [
                    {"name": "scheduler", "args": ["dask-scheduler", "--host", "127.0.0.1", "--port", "0"], "env": None}
                ]
            },
        },
    },
}


def _pod(spec: dict[str, Any], role: str, place: Path, *more: str) -> "subprocess.Popen[str]":
    """The container of ``role`` as a process, with the secret where it would be mounted."""
    from tasks.execution.kubernetes_pods import PLACE

    (container,) = spec["spec"][role]["spec"]["containers"]
    given = {entry["name"]: entry["value"].replace(PLACE, str(place)) for entry in container["env"]}
    module, *arguments = container["args"]
    return subprocess.Popen(
        [sys.executable, "-m", f"distributed.cli.{module.replace('-', '_')}", *arguments, *more],
        env={**os.environ, **given, "DASK_LOGGING__DISTRIBUTED": "info"}, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def test_pods_speak_tls_by_their_secret_and_show_no_dashboard(tmp_path: Path) -> None:
    from distributed import Client

    from tasks.execution import kubernetes_pods

    credentials = made.temporary_credentials()
    spec = kubernetes_pods.with_credentials(_SPEC)
    secret = kubernetes_pods.secret_manifest("cohort-1", credentials)
    for role in ("scheduler", "worker"):
        pod = spec["spec"][role]["spec"]
        assert pod["volumes"][0]["secret"]["secretName"] == secret["metadata"]["name"] == "cohort-1-credentials"
        assert pod["containers"][0]["volumeMounts"][0]["mountPath"] == kubernetes_pods.PLACE
        assert "PRIVATE KEY" not in json.dumps(spec)
    environment = {entry["name"]: entry["value"] for entry in spec["spec"]["worker"]["spec"]["containers"][0]["env"]}
    assert environment["DASK_SCHEDULER_ADDRESS"] == "tls://cohort-1-scheduler:8786"
    assert environment["A"] == "b"
    for name, content in secret["stringData"].items():
        (tmp_path / name).write_text(content)
    scheduler = _pod(spec, "scheduler", tmp_path)
    worker = None
    try:
        assert scheduler.stderr is not None
        address = next(line.split()[-1] for line in scheduler.stderr if "Scheduler at" in line)
        assert address.startswith("tls://")
        worker = _pod(spec, "worker", tmp_path, address)
        with Client(address, security=credentials, timeout=60) as client:
            client.wait_for_workers(1, timeout=120)
            assert client.submit(os.getpid).result(60) != os.getpid()
            assert all("refused" in line for line in _attack(_addresses(client)))
    finally:
        for process in (worker, scheduler):
            if process is not None:
                process.terminate()
                process.communicate(timeout=60)


def test_a_spec_is_not_changed_in_place() -> None:
    from tasks.execution.kubernetes_pods import with_credentials

    before = json.dumps(_SPEC)
    with_credentials(_SPEC)
    assert json.dumps(_SPEC) == before


class _Pods:
    """Stands in for the cluster of the operator's client; ``said`` is what is asked of it and of the API, in order."""

    said: list[str]

    def __init__(self, *, custom_cluster_spec: dict[str, Any], **options: Any) -> None:
        self.name, self.options = custom_cluster_spec["metadata"]["name"], options
        self.replicas = custom_cluster_spec["spec"]["worker"]["replicas"]

    async def _get_scheduler_address(self) -> str:
        return "tcp://localhost:50000"

    def __enter__(self) -> "_Pods":
        self.said.append("pods")
        return self

    def __exit__(self, *_: object) -> None:
        self.said.append("no pods")


class _Secret:
    """Stands in for a secret of the API."""

    said: list[str]

    def __init__(self, manifest: dict[str, Any], namespace: str | None) -> None:
        self.name = f"{namespace}/{manifest['metadata']['name']}"

    def create(self) -> None:
        self.said.append(f"create {self.name}")

    def delete(self) -> None:
        self.said.append(f"delete {self.name}")


def _make_cluster_spec(name: str, n_workers: int, image: str) -> dict[str, Any]:
    spec: dict[str, Any] = json.loads(json.dumps(_SPEC))
    spec["metadata"]["name"], spec["spec"]["worker"]["replicas"] = name, n_workers
    spec["spec"]["worker"]["spec"]["containers"][0]["image"] = image
    return spec


@pytest.fixture
def operator(monkeypatch: pytest.MonkeyPatch) -> tuple[list[str], list[ModuleType]]:
    """What the stand-ins were asked, and the modules that speak to the scheduler."""
    names = ("dask_kubernetes", "dask_kubernetes.operator", "dask_kubernetes.operator.kubecluster", "kr8s")
    modules = {name: ModuleType(name) for name in (*names, "dask_kubernetes.operator.networking", "kr8s.objects")}
    client, networking = modules[names[2]], modules["dask_kubernetes.operator.networking"]
    monkeypatch.setattr(_Pods, "__module__", client.__name__)
    vars(client).update(KubeCluster=_Pods, make_cluster_spec=_make_cluster_spec)
    vars(modules["kr8s.objects"])["Secret"] = _Secret
    vars(modules[names[1]])["networking"] = networking
    for name, module in modules.items():
        monkeypatch.setitem(sys.modules, name, module)
    _Pods.said = _Secret.said = []
    return _Pods.said, [client, networking]


@pytest.mark.parametrize("fails", [False, True])
def test_the_secret_is_there_before_the_pods_and_gone_after_them(
    operator: tuple[list[str], list[ModuleType]], fails: bool
) -> None:
    from tasks.execution import kubernetes_pods

    said, modules = operator
    options = {"name": "cohort", "namespace": "imaging", "image": "i"}
    with contextlib.suppress(ZeroDivisionError), kubernetes_pods.pods(3, options) as cluster:
        assert (cluster.replicas, cluster.options) == (3, {"namespace": "imaging"})
        assert cluster.name.startswith("cohort-")
        assert cluster.security.require_encryption
        assert asyncio.run(cluster._get_scheduler_address()) == "tls://localhost:50000"
        for module in modules:
            assert vars(module)["rpc"]("tls://localhost:50000").connection_args["ssl_context"] is not None
        secret = f"imaging/{cluster.name}-credentials"
        if fails:
            raise ZeroDivisionError
    assert said == [f"create {secret}", "pods", "no pods", f"delete {secret}"]
