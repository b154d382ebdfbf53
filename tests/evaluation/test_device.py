"""The device that is used if none is named; torch itself is the oracle."""

import subprocess
import sys

import torch

from segzoo.evaluation import device


def of_torch():
    return "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"


def test_the_device_is_the_one_that_torch_finds(tmp_path, monkeypatch):
    assert device.best_device() == of_torch()
    (tmp_path / "driver").touch()
    monkeypatch.setattr(device, "_DRIVERS", (str(tmp_path / "driver"),))
    assert device.best_device() == of_torch()


def test_torch_is_asked_only_where_there_is_a_driver(tmp_path):
    for path, asked in ((tmp_path, True), (tmp_path / "none", False)):
        code = f"import sys; from segzoo.evaluation import device; device._DRIVERS = ({str(path)!r},)"
        code += "; device.best_device(); print('torch' in sys.modules)"
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        assert done.stdout.strip() == str(asked or sys.platform != "linux")
