"""Ctrl-C once finishes what is under way, twice ends at once; so does a host's request to end."""

import os
import signal

import pytest

from carscribe.interrupts import finish_first


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (signal.SIGINT, signal.SIGINT),
        (signal.SIGTERM, signal.SIGTERM),
        (signal.SIGINT, signal.SIGTERM),
        (signal.SIGTERM, signal.SIGINT),
    ],
)
def test_a_first_signal_is_a_wish_and_a_second_one_ends_at_once(
    first: signal.Signals, second: signal.Signals, capfd: pytest.CaptureFixture[str]
) -> None:
    wished: list[bool] = []

    def work() -> None:
        with finish_first() as stopped:
            wished.append(stopped())
            signal.raise_signal(first)
            wished.append(stopped())
            signal.raise_signal(second)
            wished.append(stopped())

    with pytest.raises(KeyboardInterrupt):
        work()
    assert wished == [False, True]
    assert capfd.readouterr().err.count("Ctrl-C once more stops at once") == 1


def test_signals_mean_afterwards_what_they_meant_before() -> None:
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = [signal.getsignal(number) for number in numbers]
    with finish_first():
        assert [signal.getsignal(number) for number in numbers] != before
    assert [signal.getsignal(number) for number in numbers] == before


@pytest.mark.skipif(not hasattr(os, "fork"), reason="without fork there is nothing to inherit")
def test_a_forked_process_leaves_ctrl_c_to_its_parent(capfd: pytest.CaptureFixture[str]) -> None:
    with finish_first() as stopped:
        child = os.fork()
        if not child:
            for _ in range(3):
                signal.raise_signal(signal.SIGINT)
            os._exit(7 if stopped() else 0)
        assert os.waitpid(child, 0)[1] == 0
    assert capfd.readouterr().err == ""
