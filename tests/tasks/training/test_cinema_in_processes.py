"""Two processes (gloo) end with the weights that one process finds."""

import multiprocessing
import os
import socket
from dataclasses import replace
from pathlib import Path

import torch
from test_cinema_recipe import BASE, Discs

from cmr_models import zoo
from tasks.training.cinema_recipe import finetune


def _train(rank: int, port: int, output: str) -> None:
    os.environ |= {"RANK": str(rank), "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    finetune(_SETTINGS, Discs(16, "regression_ef", ("sax",)), None, Path(output))
    torch.distributed.destroy_process_group()


_SETTINGS = replace(BASE, steps=4, evaluate_every=4, config={**BASE.config, "drop_path": 0.0})


def test_two_processes_learn_what_one_learns(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    spawn = multiprocessing.get_context("spawn")
    processes = [spawn.Process(target=_train, args=(rank, port, str(tmp_path / "two"))) for rank in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(240)
    assert [process.exitcode for process in processes] == [0, 0]
    finetune(_SETTINGS, Discs(16, "regression_ef", ("sax",)), None, tmp_path / "one")
    one, two = (zoo.load(tmp_path / name)[0].state_dict() for name in ("one", "two"))
    apart = {
        key: float((_determined(key, two[key]) - _determined(key, value)).abs().max()) for key, value in one.items()
    }
    assert {key: way for key, way in apart.items() if way > 2e-4} == {}


def _determined(key: str, value: torch.Tensor) -> torch.Tensor:
    """Without the bias of the keys: softmax does not feel it, so Adam steps along the rounding of a zero gradient."""
    return value[len(value) // 2 :] if key.endswith("attn.kv.bias") else value
