"""What the environment says of several processes, and when it is refused."""

import pytest

from segzoo.errors import UsageError
from segzoo.evaluation.launched import processes

WHOLE = {"WORLD_SIZE": "4", "RANK": "3", "MASTER_ADDR": "10.0.0.1", "MASTER_PORT": "29500"}


@pytest.fixture(autouse=True)
def _none(monkeypatch):
    for name in (*WHOLE, "SLURM_STEP_NUM_TASKS", "OMPI_COMM_WORLD_SIZE", "PMI_SIZE"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize(
    ("environment", "number"),
    [
        ({}, 1),
        (WHOLE, 4),
        ({**WHOLE, "SLURM_STEP_NUM_TASKS": "2", "SLURM_PROCID": "1"}, 4),  # torchrun under srun
        ({"SLURM_NTASKS": "8", "SLURM_PROCID": "0"}, 1),  # a batch script, in which nothing was started yet
        ({"SLURM_STEP_NUM_TASKS": "1", "SLURM_PROCID": "0"}, 1),
        ({"SLURM_STEP_NUM_TASKS": "4", "WORLD_SIZE": "1"}, 1),  # each task has work of its own
        ({"SLURM_STEP_NUM_TASKS": "many"}, 1),
    ],
)
def test_the_processes_of_a_run(environment, number, monkeypatch):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert processes() == number


@pytest.mark.parametrize(
    ("environment", "said", "hint"),
    [
        ({"SLURM_STEP_NUM_TASKS": "4"}, "srun started 4 tasks that know nothing of each other, and each", "srun --ntasks-per-node=1 torchrun"),
        ({"OMPI_COMM_WORLD_SIZE": "2"}, "mpirun started 2 tasks", "torchrun --nproc-per-node N -m segzoo"),
        ({"PMI_SIZE": "2"}, "mpiexec started 2 tasks", "WORLD_SIZE=1 where each task has work of its own"),
        *(({**WHOLE, name: ""}, f"WORLD_SIZE is 4, but {name} is not set", "torchrun") for name in ("RANK", "MASTER_ADDR", "MASTER_PORT")),
        *(({**WHOLE, "RANK": rank}, f"RANK is '{rank}': expected a number from 0 to 3", "torchrun sets it") for rank in ("4", "-1", "x", "9" * 5000)),
        *(({**WHOLE, "WORLD_SIZE": size}, "WORLD_SIZE is ", "torchrun sets it") for size in ("0", "", "-2", "four", "1e3", "\u0664")),
        ({**WHOLE, "MASTER_PORT": "70000"}, "MASTER_PORT is '70000': expected a number from 1 to 65535", "torchrun sets it"),
    ],
)
def test_what_is_refused(environment, said, hint, monkeypatch):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(UsageError) as raised:
        processes()
    assert raised.value.message.startswith(said)
    assert hint in raised.value.hint
