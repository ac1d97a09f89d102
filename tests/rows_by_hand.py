"""Task tables by hand, for what reads rows and no database."""

from datetime import date

import numpy as np
import pandas as pd

from patron.days import Horizon
from patron.task.ltv import TaskTable

CUTOFF = date(2021, 4, 1)


def table(
    label: "np.ndarray | list[float]", *, customers: "np.ndarray | list[int] | None" = None,
    history: "np.ndarray | list[int] | int" = 2, cutoffs: "list[date] | None" = None, target: str = "net",
) -> TaskTable:  # fmt: skip
    """One row a label: of customers 0, 1, ... at one cutoff with a long history, unless something else is said."""
    number = len(label)
    kinds = np.broadcast_to(np.asarray(history), number)
    frame = pd.DataFrame({
        "customer_id": np.arange(number) if customers is None else customers,
        "cutoff": pd.to_datetime([CUTOFF] * number if cutoffs is None else cutoffs).as_unit("us"),
        "slice_one_order": kinds == 0,
        "slice_dormant": kinds == 1,
        "label": np.asarray(label, dtype=float),
    })  # fmt: skip
    return TaskTable(frame, Horizon.parse("90d"), target=target)
