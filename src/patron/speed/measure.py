"""Seconds and memory of a call in this process."""

import contextlib
import gc
import resource
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

T = TypeVar("T")
_STATUS, _RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")


@dataclass(frozen=True)
class Measured(Generic[T]):
    """What a call gave, the seconds of wall time of the fastest of its repeats, the peak of the resident memory of the
    process during them in MB, and by how much that exceeds what it held before."""

    value: T
    seconds: float
    peak_mb: float
    added_mb: float


def measured(call: Callable[[], T], *, repeats: int = 1) -> Measured[T]:
    """`call`, measured. Only Linux knows the peak since a moment; elsewhere it is that since the process began."""
    gc.collect()
    _forget_peak()
    before, fastest = _resident_mb("VmRSS"), float("inf")
    for _ in range(repeats):
        started = time.perf_counter()
        value = call()
        fastest = min(fastest, time.perf_counter() - started)
    peak = _resident_mb("VmHWM")
    return Measured(value, fastest, peak, max(peak - before, 0.0))


def _forget_peak() -> None:
    with contextlib.suppress(OSError):  # no Linux, or a sandbox that does not let us
        _RESET.write_text("5")


def _resident_mb(field: str) -> float:
    if _STATUS.exists():
        line = next(line for line in _STATUS.read_text().splitlines() if line.startswith(field))
        return float(line.split()[1]) / 1024
    per_mb = 1024**2 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / per_mb
