"""The search for edges that a node knows of at a time, compiled."""

import numpy as np

from patron.graph.compiled import njit


@njit()
def find(
    start: np.ndarray, time: np.ndarray, nodes: np.ndarray, now: np.ndarray, most: int, rng: np.random.Generator | None
) -> tuple[np.ndarray, np.ndarray]:
    """Which of the nodes hear, and by which edges, each knowing those up to its `now`: [m] each. The last ones, or
    drawn by `rng`, if there is one."""
    known = np.empty(len(nodes), np.int64)
    for k in range(len(nodes)):
        first, end = start[nodes[k]], start[nodes[k] + 1]
        known[k] = np.searchsorted(time[first:end], now[k], side="right")
    number = np.minimum(known, most).sum()
    who, at = np.empty(number, np.int64), np.empty(number, np.int64)
    done = 0
    for k in range(len(nodes)):
        taken, first = min(known[k], most), start[nodes[k]]
        who[done : done + taken] = k
        for j in range(taken):
            at[done + j] = first + known[k] - taken + j
        if rng is not None and known[k] > most:
            _draw(at[done : done + most], first, known[k], rng)
        done += taken
    return who, at


@njit()
def _draw(chosen: np.ndarray, first: int, number: int, rng: np.random.Generator) -> None:
    # Of so many from `first` on as many as there is room for, none twice, all sets alike: Floyd's algorithm (Bentley &
    # Floyd 1987).
    for k in range(len(chosen)):
        top = number - len(chosen) + k
        drawn = first + int(rng.random() * (top + 1))
        for earlier in chosen[:k]:
            if earlier == drawn:
                drawn = first + top
        chosen[k] = drawn
