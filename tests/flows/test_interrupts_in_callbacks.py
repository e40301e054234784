"""A signal that strikes while Python runs a callback, whose errors it only prints: no trace of it on the terminal."""

import gc
import sys
import weakref

import pytest

from flows.interrupts import Interrupted, interrupts_end_the_command


class _Thing:
    pass


def _die_while(error: BaseException) -> None:
    """Raise ``error`` in a callback of the garbage collector."""

    def fall(_: object) -> None:
        raise error

    thing = _Thing()
    reference = weakref.ref(thing, fall)
    del thing
    gc.collect()
    assert reference() is None


def test_what_a_signal_raised_in_a_callback_is_not_printed(capsys: pytest.CaptureFixture[str]) -> None:
    before = sys.unraisablehook
    sys.unraisablehook = sys.__unraisablehook__  # pytest has one of its own
    try:
        with interrupts_end_the_command():
            _die_while(Interrupted(15))
            assert capsys.readouterr().err == ""
            _die_while(ValueError("no signal"))
            assert "ValueError: no signal" in capsys.readouterr().err
        assert sys.unraisablehook is sys.__unraisablehook__
    finally:
        sys.unraisablehook = before
