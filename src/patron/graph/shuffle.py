"""The control of a graph: as many edges at every node, but between others.

If a net on shuffled edges does as well, it is not the edges that it learned from.
"""

import numpy as np
import torch
from torch import Tensor

from patron.graph.edges import EDGES, EdgeType

SEED = 0


def shuffled_ends(edge: EdgeType, source: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """The ends of the edges of one type, one end permuted among them: (source [E], target [E]).

    Every node keeps its number of edges, as in the configuration model, so that a customer may come to be tied to
    itself. The end that stays is the customer's (of two customers the one who hears), which so keeps the times and
    weights of its edges too. Only the given edges are drawn from: where these are known at a cutoff, both ends of
    every new one are. The same edges in the same order give the same answer.
    """
    _, relation, hearer = edge
    generator = np.random.default_rng([SEED, list(EDGES).index(relation)])  # each relation has an order of its own
    drawn = torch.from_numpy(generator.permutation(len(source)))
    return (source[drawn], target) if hearer == "customer" else (source, target[drawn])
