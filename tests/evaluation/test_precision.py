"""The settings of torch that all threads share: held while somebody computes, and put back as they were."""

import threading

import pytest
import torch

from segzoo.evaluation.precision import arithmetic

SETTINGS = torch.backends.cuda.matmul


@pytest.fixture(autouse=True)
def _as_it_was():
    before = torch.get_float32_matmul_precision()
    yield
    torch.set_float32_matmul_precision(before)


def state():
    return SETTINGS.fp32_precision


def test_a_thread_that_ends_first_leaves_the_others_their_arithmetic():
    torch.set_float32_matmul_precision("medium")
    before = state()
    inside, leave = threading.Event(), threading.Event()

    def other():
        with arithmetic("fp32"):
            inside.set()
            leave.wait(10)

    thread = threading.Thread(target=other)
    with arithmetic("fp32"):
        thread.start()
        assert inside.wait(10)  # two compute side by side
    assert state() == "ieee"
    leave.set()
    thread.join()
    assert state() == before != "ieee"


def test_a_thread_that_needs_other_settings_waits():
    seen = []
    inside, done = threading.Event(), threading.Event()

    def fast():
        inside.set()
        with arithmetic("tf32"):
            seen.append(state())
        done.set()

    thread = threading.Thread(target=fast)
    with arithmetic("fp32"):
        thread.start()
        assert inside.wait(10)
        assert not done.wait(0.2)
        assert state() == "ieee"
    thread.join(10)
    assert seen == ["tf32"]


def test_threads_that_compute_fast_within_exact_blocks_do_not_wait_for_ever():
    both = threading.Barrier(2)
    seen = []

    def run():
        with arithmetic("fp32"):
            both.wait(10)
            with arithmetic("tf32"):
                seen.append(state())
            seen.append(state())

    threads = [threading.Thread(target=run) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert sorted(seen) == ["ieee", "ieee", "tf32", "tf32"]


def test_an_error_puts_the_settings_back():
    before = state()
    with pytest.raises(ZeroDivisionError), arithmetic("fp32"), arithmetic("tf32"):
        raise ZeroDivisionError
    assert state() == before
