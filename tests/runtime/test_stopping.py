"""SIGTERM and SIGUSR1 as a request that a loop looks at."""

import os
import signal
import threading

import pytest

from limitcycles.runtime import stopping


@pytest.mark.parametrize("number", stopping.SIGNALS)
def test_a_signal_is_noted_and_the_handlers_are_put_back(number):
    with stopping.requests() as request:
        assert request.signal is None
        os.kill(os.getpid(), number)
        assert request.signal is number
        with pytest.raises(stopping.StoppedError, match=f"^it when {number.name} asked"):
            raise request.error("it")
    assert all(signal.getsignal(s) is signal.SIG_DFL for s in stopping.SIGNALS)


def test_handlers_are_put_back_after_an_error():
    with pytest.raises(ZeroDivisionError), stopping.requests():
        1 / 0  # noqa: B018
    assert all(signal.getsignal(s) is signal.SIG_DFL for s in stopping.SIGNALS)


def test_the_handler_of_the_program_around_us_stays():
    seen = []
    before = signal.signal(signal.SIGUSR1, lambda *_: seen.append(1))
    try:
        with stopping.requests() as request:
            os.kill(os.getpid(), signal.SIGUSR1)
            assert (seen, request.signal) == ([1], None)
            os.kill(os.getpid(), signal.SIGTERM)
            assert request.signal is signal.SIGTERM
    finally:
        signal.signal(signal.SIGUSR1, before)


def test_in_another_thread_nothing_is_set():
    found = []

    def work():
        with stopping.requests() as request:
            found.extend([request.signal, signal.getsignal(signal.SIGTERM)])

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert found == [None, signal.SIG_DFL]
