"""Functions that numba compiles, the first time that they run."""

from collections.abc import Callable
from typing import Any

import numba


def njit(**options: Any) -> Callable[[Callable[..., Any]], Any]:
    """`numba.njit`, kept on disk for the next process where there is a folder for that: a package that is read-only, of
    a user without a home, has none, and numba refuses to try."""

    def compiled(function: Callable[..., Any]) -> Any:
        try:
            return numba.njit(cache=True, **options)(function)
        except RuntimeError:
            return numba.njit(**options)(function)

    return compiled
