"""Memory that is free goes back to the system."""

import ctypes
import gc

import pyarrow as pa


def release() -> None:
    """What this process has freed is the system's again. The C library keeps it otherwise: after tables were read,
    checked and sorted, more than they hold. It is about glibc; nothing happens elsewhere."""
    gc.collect()
    pa.default_memory_pool().release_unused()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
