"""The embedded engine: workers that die, a task that kills, a driver that is killed."""

import signal
import subprocess
import sys
import time
from collections import Counter

import pytest
from killed import alive, children, doomed, double, once

from segzoo.errors import EnvironmentFault, UsageError
from segzoo.scale.engine import Died, Resources, submit
from segzoo.scale.lanes import MOST, Lanes, lane


def outcomes(function, payloads, on="local:2", tries=3):
    """What becomes of each payload, where one that died is given again so many times, and how many starts there were."""
    waiting = [(str(key), payload) for key, payload in enumerate(payloads)]
    starts, found = Counter(), {}

    def take():
        if not waiting:
            return None
        starts[waiting[0][0]] += 1
        return waiting.pop(0)

    for step in submit(function, take, on, Resources()):
        if isinstance(step, int):
            continue
        key, outcome = step
        if isinstance(outcome, Died) and starts[key] < tries:
            waiting.append((key, payloads[int(key)]))
        else:
            found[int(key)] = outcome
    return found, starts


def test_every_task_has_its_outcome():
    found, starts = outcomes(double, range(30))
    assert found == {number: 2 * number for number in range(30)}
    assert set(starts.values()) == {1}


def test_what_kills_its_worker_fails_alone():
    found, starts = outcomes(doomed, range(12))
    assert {number: one for number, one in found.items() if number != 3} == {number: 2 * number for number in range(12) if number != 3}
    assert isinstance(found[3], Died)
    assert found[3].reason == "signal 9"
    assert starts["3"] == 3
    assert sum(starts.values()) == 14


def test_a_kill_costs_one_more_start(tmp_path):
    found, starts = outcomes(once, [(number, str(tmp_path)) for number in range(12)])
    assert found == {number: 2 * number for number in range(12)}
    assert sum(starts.values()) - 12 == 4


def test_a_worker_that_cannot_start_is_said(monkeypatch, tmp_path):
    (tmp_path / "killed.py").write_text("import a_module_that_is_nowhere\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(EnvironmentFault, match=r"no worker starts: exit code 1: ModuleNotFoundError: .*a_module_that_is_nowhere"):
        outcomes(double, range(3))


@pytest.mark.parametrize("on", ["local:0", "local:many", "dask", "local:-1"])
def test_an_engine_that_there_is_not_is_refused(on):
    with pytest.raises(UsageError):
        outcomes(double, [1], on)


DRIVER = """
import sys
sys.path[:0] = {paths!r}
from killed import slow
from segzoo.scale.engine import Resources, submit
waiting = [("a", 1), ("b", 2)]
for step in submit(slow, lambda: waiting.pop() if waiting else None, "local:2", Resources()):
    print("tick", flush=True)
"""


def test_a_driver_that_is_killed_leaves_no_worker():
    with subprocess.Popen([sys.executable, "-c", DRIVER.format(paths=sys.path)], stdout=subprocess.PIPE, text=True) as driver:
        driver.stdout.readline()
        workers = children(driver.pid)
        assert len(workers) == 2
        driver.send_signal(signal.SIGKILL)
        driver.wait()
    until = time.monotonic() + 20
    while any(alive(pid) for pid in workers) and time.monotonic() < until:
        time.sleep(0.05)
    assert not [pid for pid in workers if alive(pid)]


HOLDER = """
import sys
from pathlib import Path
sys.path[:0] = {paths!r}
from segzoo.scale.lanes import lane
print("waits", flush=True)
with lane(Path({folder!r}), 1):
    print("has it", flush=True)
"""


def test_lanes_together_are_sixteen_connections_at_most(tmp_path):
    for workers in range(1, 300):
        lanes = Lanes.of(workers)
        assert 1 <= lanes.number * lanes.connections <= MOST
    with lane(tmp_path, 1):
        command = HOLDER.format(paths=sys.path, folder=str(tmp_path))
        with subprocess.Popen([sys.executable, "-c", command], stdout=subprocess.PIPE, text=True) as other:
            assert other.stdout.readline() == "waits\n"
            with pytest.raises(subprocess.TimeoutExpired):
                other.wait(0.5)
            other.send_signal(signal.SIGKILL)
    with lane(tmp_path, 1):  # a killed process leaves its lane
        assert [path.name for path in tmp_path.iterdir()] == ["0.lock"]
