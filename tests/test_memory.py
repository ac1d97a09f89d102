"""What was freed is the system's again."""

import ctypes

import numpy as np
import pytest

from patron.memory import release
from patron.speed.measure import measured

PIECE = 64 * 2**10  # bytes: too small to be the system's as soon as it is freed


def test_what_is_freed_is_given_back() -> None:
    if not hasattr(ctypes.CDLL(None), "malloc_trim"):
        pytest.skip("the C library is not glibc")
    held = [np.ones(PIECE, dtype=np.int8) for _ in range(4_000)]  # 250 MB
    last = held.pop()  # behind the others: nothing before it goes by itself
    full = measured(lambda: None).peak_mb
    held.clear()
    release()
    assert measured(lambda: None).peak_mb < full - 200
    assert last.sum() == PIECE


def test_where_the_c_library_knows_no_trim_it_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ctypes, "CDLL", lambda _: object())
    release()
