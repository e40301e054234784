"""A setting is held for as long as anybody is inside, and put back whatever happens."""

import threading

import pytest

from tasks.state.held_setting import HeldSetting


def _setting() -> tuple[HeldSetting[int], list[int]]:
    puts = [30]
    return HeldSetting(lambda: puts[-1], puts.append, 50), puts


def test_it_is_put_once_and_back_once_and_the_former_value_is_read_anew() -> None:
    held, puts = _setting()
    with held.held():
        with held.held():
            assert puts == [30, 50]
        assert puts == [30, 50]
    assert puts == [30, 50, 30]
    puts.append(7)
    with held.held():
        assert puts[-1] == 50
    assert puts == [30, 50, 30, 7, 50, 7]


def test_it_is_put_back_after_a_fault() -> None:
    held, puts = _setting()
    with pytest.raises(ZeroDivisionError), held.held():
        raise ZeroDivisionError
    assert puts == [30, 50, 30]


def test_the_last_of_several_threads_puts_it_back() -> None:
    held, puts = _setting()
    inside, leave = threading.Barrier(3), threading.Event()

    def hold() -> None:
        with held.held():
            inside.wait(10)
            leave.wait(10)

    threads = [threading.Thread(target=hold) for _ in range(2)]
    for thread in threads:
        thread.start()
    inside.wait(10)
    assert puts == [30, 50]
    leave.set()
    for thread in threads:
        thread.join(10)
    assert puts == [30, 50, 30]
