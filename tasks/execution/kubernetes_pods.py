"""Pods of Kubernetes that speak to each other, and to the command, by credentials in a secret of their own.

The operator's client knows no TLS, so it is given here: to the pods by their environment, to the client by its
connection. In its pod the scheduler listens on all addresses, as the port forwarding of Kubernetes needs it.
"""

from __future__ import annotations

import contextlib
import copy
import os
import sys
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from distributed.core import rpc

from tasks.execution.credentials import CERTIFICATE, KEY, as_texts, temporary_credentials

if TYPE_CHECKING:
    from distributed import Security

PLACE = "/var/run/cmr-cohort/credentials"
"""Where the files of the secret lie in a pod."""

_VOLUME = "cmr-cohort-credentials"
_ROLES = ("SCHEDULER", "WORKER", "CLIENT")
_DASK = {
    "COMM__DEFAULT_SCHEME": "tls",
    "COMM__REQUIRE_ENCRYPTION": "True",
    "COMM__TLS__CA_FILE": f"{PLACE}/{CERTIFICATE}",
    **{f"COMM__TLS__{role}__CERT": f"{PLACE}/{CERTIFICATE}" for role in _ROLES},
    **{f"COMM__TLS__{role}__KEY": f"{PLACE}/{KEY}" for role in _ROLES},
    "SCHEDULER__HTTP__ROUTES": "['distributed.http.health']",  # the operator asks whether it lives
    "WORKER__HTTP__ROUTES": "[]",
}
_OF_A_SPEC = ("image", "resources", "env", "worker_command", "scheduler_service_type", "idle_timeout")
_PORT = 8786


@contextlib.contextmanager
def pods(workers: int, options: Mapping[str, Any]) -> Iterator[Any]:
    """A cluster of pods under a name of its own, with a secret that is there as long as they are.

    Args:
        workers: pods that work.
        options: as ``KubeCluster`` takes them.
    """
    from dask_kubernetes.operator import networking
    from dask_kubernetes.operator.kubecluster import KubeCluster
    from kr8s.objects import Secret

    credentials = temporary_credentials()
    connection = credentials.get_connection_args("client")
    for module in (sys.modules[KubeCluster.__module__], networking):
        vars(module)["rpc"] = partial(rpc, connection_args=connection)

    class Pods(KubeCluster):  # type: ignore[misc]  # the package has no types
        """Pods that are spoken to over TLS."""

        security = credentials

        async def _get_scheduler_address(self) -> str:
            address: str = await super()._get_scheduler_address()
            return address.replace("tcp://", "tls://", 1)

    spec, others = _spec(workers, options)
    secret = Secret(secret_manifest(spec["metadata"]["name"], credentials), namespace=others.get("namespace"))
    secret.create()
    try:
        with Pods(custom_cluster_spec=with_credentials(spec), **others) as cluster:
            yield cluster
    finally:
        secret.delete()


def _spec(workers: int, options: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The resource of the operator, named anew, and the options that are not part of it."""
    from dask_kubernetes.operator.kubecluster import make_cluster_spec

    others = dict(options)
    given = others.pop("custom_cluster_spec", None)
    name = f"{others.pop('name', 'cmr-cohort')}-{os.urandom(4).hex()}"
    if given is None:
        parts = {key: others.pop(key) for key in _OF_A_SPEC if key in others}
        return make_cluster_spec(name, n_workers=workers, **parts), others
    spec = yaml.safe_load(Path(given).read_text()) if isinstance(given, str) else copy.deepcopy(given)
    spec["spec"]["worker"]["replicas"] = workers
    return spec, others


def secret_manifest(cluster: str, credentials: Security) -> dict[str, Any]:
    """The secret that holds the files of the credentials of a cluster."""
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": _secret_of(cluster)},
        "type": "Opaque",
        "stringData": as_texts(credentials),
    }


def with_credentials(spec: Mapping[str, Any]) -> dict[str, Any]:
    """The operator's resource, its scheduler and workers speaking TLS by the files of the secret, with no dashboard."""
    secured = copy.deepcopy(dict(spec))
    name = secured["metadata"]["name"]
    for role in ("scheduler", "worker"):
        pod = secured["spec"][role]["spec"]
        pod.setdefault("volumes", []).append({"name": _VOLUME, "secret": {"secretName": _secret_of(name)}})
        for container in pod["containers"]:
            _secure(container, name)
    return secured


def _secure(container: dict[str, Any], cluster: str) -> None:
    settings = {f"DASK_DISTRIBUTED__{name}": value for name, value in _DASK.items()}
    settings["DASK_SCHEDULER_ADDRESS"] = f"tls://{cluster}-scheduler:{_PORT}"
    ours = [{"name": name, "value": value} for name, value in settings.items()]
    theirs = [entry for entry in container.get("env") or [] if entry["name"] not in settings]
    container["env"] = [*theirs, *ours]
    mounts = container.get("volumeMounts") or []
    container["volumeMounts"] = [*mounts, {"name": _VOLUME, "mountPath": PLACE, "readOnly": True}]
    container["args"] = [*container.get("args", ()), "--no-dashboard"]


def _secret_of(cluster: str) -> str:
    return f"{cluster}-credentials"
