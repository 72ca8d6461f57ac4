"""Global state and time: what one task does to them, no other task sees."""

import random
import threading
import time

import numpy as np
import pytest
import torch

from qbench.evaluation.isolation import TimeoutExceededError, isolated, time_limit


def test_whatever_a_plugin_sets_is_not_there_inside_and_restored_outside():
    threads = torch.get_num_threads()
    torch.set_default_dtype(torch.float64)
    torch.set_num_threads(2)
    try:
        with torch.no_grad(), isolated(7):
            assert torch.get_default_dtype() == torch.float32
            assert torch.is_grad_enabled()
            assert torch.get_num_threads() == 1
            torch.set_default_dtype(torch.float16)
            torch.set_grad_enabled(False)
            torch.set_num_threads(2)
        assert torch.get_default_dtype() == torch.float64
        assert torch.get_num_threads() == 2
        assert torch.is_grad_enabled()
    finally:
        torch.set_default_dtype(torch.float32)
        torch.set_num_threads(threads)


def draws():
    return torch.rand(3).tolist(), np.random.rand(3).tolist(), random.random()


def test_randomness_starts_from_the_seed_and_leaves_no_trace():
    torch.manual_seed(1)
    np.random.seed(1)
    random.seed(1)
    outside = draws()
    torch.manual_seed(1)
    np.random.seed(1)
    random.seed(1)
    with isolated(2**59):
        first = draws()
    with isolated(2**59):
        assert draws() == first
    with isolated(3):
        assert draws() != first
    assert draws() == outside


def spin():
    while True:
        pass


@pytest.mark.parametrize("never_ends", [spin, lambda: time.sleep(60)])
def test_code_that_never_ends_is_stopped(never_ends):
    began = time.monotonic()
    with pytest.raises(TimeoutExceededError, match="time limit"), time_limit(0.2):
        never_ends()
    assert time.monotonic() - began < 30
    with time_limit(60):
        pass  # the clock is off afterwards


def test_code_is_stopped_where_it_had_yet_to_put_gradients_back():
    class Off(torch.no_grad):
        def __exit__(self, *error):
            spin()  # time is up before torch's own would have done it

    with pytest.raises(TimeoutExceededError), time_limit(0.2), Off():
        pass
    assert torch.is_grad_enabled()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_code_is_stopped_where_a_finaliser_swallowed_the_exception():
    class Slow:
        def __del__(self):
            time.sleep(0.5)

    def work():
        Slow()  # time is up while its finaliser runs, from where no exception comes out
        spin()

    with pytest.raises(TimeoutExceededError), time_limit(0.2):
        work()


def test_code_in_another_thread_is_stopped_too():
    caught = []

    def work():
        try:
            with time_limit(0.2):
                spin()
        except TimeoutExceededError as error:
            caught.append(error)
        with time_limit(60):
            caught.append("goes on")

    thread = threading.Thread(target=work)
    thread.start()
    thread.join(60)
    assert [type(one) for one in caught] == [TimeoutExceededError, str]
