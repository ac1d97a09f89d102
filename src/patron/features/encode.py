"""Columns become numbers that a neural net can take, by statistics of the rows it is trained on and of nothing else.

A number becomes its normal score: its mid-rank among the values seen in training, through the inverse normal. That is
blind to units and outliers, and a mass of zeros stays one point in the middle of its ranks. Beside it stands its size,
the log of how many times the usual it is, for ranks do not tell a large customer from one ten times as large. What is
missing becomes 0 with a flag of its own.
"""

from collections import deque
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

import numpy as np
import pandas as pd
from joblib import cpu_count
from scipy.special import ndtri

MAX_KNOTS = 1_000  # quantiles kept of a column
BLOCK = 2**14  # rows that a thread encodes at once


@dataclass(frozen=True)
class Size:
    """The size of a value is log1p of how many times `unit` it is, with its sign; `centre` and `spread` are mean and
    standard deviation of the sizes in training."""

    unit: float
    centre: float
    spread: float


@dataclass(frozen=True)
class Encoder:
    """What training rows looked like: per numeric column its values and their mid-ranks in (0, 1), and the sizes of one
    with more than two values; per text column its vocabulary."""

    knots: Mapping[str, tuple[np.ndarray, np.ndarray]]
    sizes: Mapping[str, Size]
    flagged: tuple[str, ...]
    vocabulary: Mapping[str, tuple[str, ...]]

    @property
    def width(self) -> int:
        """Number of columns of what `encode` returns."""
        return (
            len(self.knots)
            + len(self.sizes)
            + len(self.flagged)
            + sum(len(words) for words in self.vocabulary.values())
        )


def fit_encoder(frame: pd.DataFrame, *, max_words: int = 8) -> Encoder:
    """The encoder of the columns of `frame` that vary; of a text column, the `max_words` most frequent values.

    A column of one value that is missing in some rows varies too: a number keeps its flag, a text its word.
    """
    numbers = frame.select_dtypes("number")
    distinct = {str(name): frame[name].nunique() for name in frame}
    gaps = {name: bool(frame[name].isna().any()) for name in distinct}
    varied = [name for name in distinct if distinct[name] > 0 and distinct[name] + gaps[name] > 1]
    knots = {n: _knots(numbers[n].to_numpy(np.float64)) for n in varied if n in numbers and distinct[n] > 1}
    sizes = {n: _size(numbers[n].to_numpy(np.float64)) for n in knots if distinct[n] > 2}
    flagged = tuple(name for name in varied if name in numbers and gaps[name])
    vocabulary = {name: _words(frame[name], limit=max_words) for name in varied if name not in numbers}
    return Encoder(knots, sizes, flagged, vocabulary)


def encode(encoder: Encoder, frame: pd.DataFrame) -> np.ndarray:
    """`frame` as [n, encoder.width] float32: normal scores, sizes, missing flags, one-hot words; unseen and missing
    words are all 0."""
    columns = _columns(encoder, frame)
    encoded = np.empty((len(frame), encoder.width), dtype=np.float32)
    blocks = [slice(start, start + BLOCK) for start in range(0, len(frame), BLOCK)]

    def fill(rows: slice) -> None:
        for place, (values, made) in enumerate(columns):
            encoded[rows, place] = made(values[rows])

    with ThreadPoolExecutor(cpu_count() if len(blocks) > 1 else 1) as pool:
        deque(pool.map(fill, blocks), maxlen=0)
    return encoded


def _columns(encoder: Encoder, frame: pd.DataFrame) -> list[tuple[np.ndarray, Callable[[np.ndarray], np.ndarray]]]:
    # Of each column of what `encode` returns, values [n] and what is made of any of them.
    numbers = {name: frame[name].to_numpy(np.float64) for name in encoder.knots}
    scores = [(numbers[n], partial(_normal_scores, seen=seen, rank=rank)) for n, (seen, rank) in encoder.knots.items()]
    sizes = [
        (numbers[name], partial(_standard_sizes, size=size, seen=encoder.knots[name][0]))
        for name, size in encoder.sizes.items()
    ]
    flags = [frame[name].isna() for name in encoder.flagged]
    flags += [frame[name].isin([word]) for name, words in encoder.vocabulary.items() for word in words]
    return [*scores, *sizes, *((flag.to_numpy(np.float32), np.asarray) for flag in flags)]


def _knots(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    seen, counts = np.unique(values[~np.isnan(values)], return_counts=True)
    rank = (np.cumsum(counts) - counts / 2) / counts.sum()
    kept = np.unique(np.linspace(0, len(seen) - 1, min(len(seen), MAX_KNOTS)).astype(np.int64))
    return seen[kept], rank[kept]


def _normal_scores(values: np.ndarray, seen: np.ndarray, rank: np.ndarray) -> np.ndarray:
    return np.nan_to_num(ndtri(np.interp(values, seen, rank)), nan=0.0)


def _size(values: np.ndarray) -> Size:
    known = np.sort(values[~np.isnan(values)])  # sums do not depend on the order of the rows
    unit = float(np.median(np.abs(known[known != 0])))  # the usual: the sizes are blind to units
    sizes = _sizes(known, unit)
    return Size(unit, float(sizes.mean()), max(float(sizes.std()), 1e-9))


def _sizes(values: np.ndarray, unit: float) -> np.ndarray:
    return np.asarray(np.sign(values) * np.log1p(np.abs(values) / unit))


def _standard_sizes(values: np.ndarray, size: Size, *, seen: np.ndarray) -> np.ndarray:
    sizes = _sizes(np.clip(values, seen[0], seen[-1]), size.unit)
    return np.nan_to_num((sizes - size.centre) / size.spread, nan=0.0)


def _words(texts: pd.Series, *, limit: int) -> tuple[str, ...]:
    counts = texts.value_counts()
    ordered = sorted(counts.index, key=lambda word: (-counts[word], word))
    return tuple(ordered[:limit])
