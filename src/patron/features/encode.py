"""Columns become numbers that a neural net can take, by statistics of the rows it is trained on and of nothing else.

A number becomes its normal score: its mid-rank among the values seen in training, through the inverse normal. That is
blind to units and outliers, and a mass of zeros stays one point in the middle of its ranks. What is missing becomes 0
with a flag of its own.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.special import ndtri

MAX_KNOTS = 1_000  # quantiles kept of a column


@dataclass(frozen=True)
class Encoder:
    """What training rows looked like: per numeric column its values and their mid-ranks in (0, 1); per text column
    its vocabulary."""

    knots: Mapping[str, tuple[np.ndarray, np.ndarray]]
    flagged: tuple[str, ...]
    vocabulary: Mapping[str, tuple[str, ...]]

    @property
    def width(self) -> int:
        """Number of columns of what `encode` returns."""
        return len(self.knots) + len(self.flagged) + sum(len(words) for words in self.vocabulary.values())


def fit_encoder(frame: pd.DataFrame, *, max_words: int = 8) -> Encoder:
    """The encoder of the columns of `frame` that vary; of a text column, the `max_words` most frequent values.

    A column of one value that is missing in some rows varies too: a number keeps its flag, a text its word.
    """
    numbers = frame.select_dtypes("number")
    distinct = {str(name): frame[name].nunique() for name in frame}
    gaps = {name: bool(frame[name].isna().any()) for name in distinct}
    varied = [name for name in distinct if distinct[name] > 0 and distinct[name] + gaps[name] > 1]
    knots = {n: _knots(numbers[n].to_numpy(np.float64)) for n in varied if n in numbers and distinct[n] > 1}
    flagged = tuple(name for name in varied if name in numbers and gaps[name])
    vocabulary = {name: _words(frame[name], limit=max_words) for name in varied if name not in numbers}
    return Encoder(knots, flagged, vocabulary)


def encode(encoder: Encoder, frame: pd.DataFrame) -> np.ndarray:
    """`frame` as [n, encoder.width] float32: normal scores, missing flags, one-hot words; unseen and missing words are
    all 0."""
    parts = [_normal_scores(frame[name].to_numpy(np.float64), *knots) for name, knots in encoder.knots.items()]
    parts += [frame[name].isna().to_numpy(np.float32) for name in encoder.flagged]
    parts += [
        frame[name].isin([word]).to_numpy(np.float32) for name, words in encoder.vocabulary.items() for word in words
    ]
    return np.stack(parts, axis=1).astype(np.float32) if parts else np.zeros((len(frame), 0), dtype=np.float32)


def _knots(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    seen, counts = np.unique(values[~np.isnan(values)], return_counts=True)
    rank = (np.cumsum(counts) - counts / 2) / counts.sum()
    kept = np.unique(np.linspace(0, len(seen) - 1, min(len(seen), MAX_KNOTS)).astype(np.int64))
    return seen[kept], rank[kept]


def _normal_scores(values: np.ndarray, seen: np.ndarray, rank: np.ndarray) -> np.ndarray:
    return np.nan_to_num(ndtri(np.interp(values, seen, rank)), nan=0.0)


def _words(texts: pd.Series, *, limit: int) -> tuple[str, ...]:
    counts = texts.value_counts()
    ordered = sorted(counts.index, key=lambda word: (-counts[word], word))
    return tuple(ordered[:limit])
