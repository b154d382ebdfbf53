"""The memory of a process is its own."""

import subprocess
import sys

import numpy as np
import pytest

from segzoo.evaluation.memory import resident_peak

CHILD = "from segzoo.evaluation.memory import resident_peak; print(resident_peak())"


@pytest.mark.skipif(sys.platform != "linux", reason="other systems count the process that started this one")
def test_the_peak_is_not_that_of_the_process_which_started_it():
    large = np.ones(300 << 20, np.uint8)
    child = int(subprocess.run([sys.executable, "-c", CHILD], check=True, capture_output=True, text=True).stdout)
    assert 5 << 20 < child < large.nbytes < (resident_peak() or 0)
