"""Encoders of the customers' features, each column by itself, before anything is mixed. Gorishniy, Rubachev & Babenko
2022, by their rtdl_num_embeddings.

Columns come as normal scores, sizes and flags, so the same knots cut every column of many ranks into equal shares.
"""

from typing import Literal

import torch
from rtdl_num_embeddings import PiecewiseLinearEmbeddings
from scipy.special import ndtri
from torch import Tensor, nn

Numeric = Literal["linear", "piecewise"]
CHANNELS, BINS = 4, 8  # of a column
OUTER = 3.0  # normal scores of the outermost knots


class NumericEncoder(nn.Module):
    """`linear` leaves a column as it is, `piecewise` bends it at quantiles and starts as a line. In training whole
    columns are dropped out."""

    def __init__(self, kind: Numeric, *, columns: int, dropout: float) -> None:
        super().__init__()
        self.embed = _embeddings(kind, columns=columns)
        self.width = columns if self.embed is None else CHANNELS * columns
        self.dropout = nn.Dropout(dropout) if self.embed is None else nn.Dropout1d(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """[N, columns] -> [N, width]."""
        return self.dropout(x) if self.embed is None else self.dropout(self.embed(x)).flatten(1)


def _embeddings(kind: Numeric, *, columns: int) -> nn.Module | None:
    # Where nothing is known of the customers there is nothing to be bent.
    if kind == "linear" or columns == 0:
        return None
    inner = torch.from_numpy(ndtri(torch.arange(1, BINS).double().numpy() / BINS))
    knots = torch.cat([torch.tensor([-OUTER]), inner.float(), torch.tensor([OUTER])])
    return PiecewiseLinearEmbeddings([knots] * columns, CHANNELS, activation=False, version="B")
