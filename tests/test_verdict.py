"""The verdict about the graph by hand: on which of rank, error and distribution it holds, and what it needs."""

import numpy as np
import pandas as pd
import pytest
from results_by_hand import make_results, row

from patron.reporting.tables import comparison, markdown
from patron.reporting.verdict import verdict

Interval = tuple[float, float, float]
UP, EVEN, DOWN = (0.02, 0.01, 0.03), (0.001, -0.01, 0.012), (-0.02, -0.03, -0.01)


def compared(metric: str, lightgbm: Interval, mlp: Interval | None = None, shuffled: Interval | None = None) -> list:
    """The GNN's difference in a metric to LightGBM and to its controls, where they were run."""
    others = {"lightgbm": lightgbm, "mlp": mlp, "gnn_shuffled": shuffled}
    return [row("gnn", f"{metric}_minus_{name}", *found) for name, found in others.items() if found is not None]


def test_the_numbers_stand_before_what_they_mean() -> None:
    rows = [
        *compared("spearman", UP, UP, EVEN),
        *compared("nmae", DOWN, EVEN, DOWN),
        row("gnn", "spearman_seed_sd", 0.003),
    ]
    assert verdict(pd.DataFrame(rows)) == (
        "GNN minus LightGBM: +0.020 [+0.010, +0.030] Spearman (SD over seeds 0.003), −0.020 [−0.030, −0.010] "
        "MAE / mean. "
        "Minus MLP, no graph: +0.020 [+0.010, +0.030] Spearman (one seed), +0.001 [−0.010, +0.012] MAE / mean. "
        "Minus GNN, edges shuffled: +0.001 [−0.010, +0.012] Spearman (one seed), −0.020 [−0.030, −0.010] MAE / mean. "
        "In rank and error the net is better than LightGBM, but not than both of its controls, itself without messages "
        "and on shuffled edges: what pays there is the net, not the graph."
    )


@pytest.mark.parametrize(
    ("lightgbm", "mlp", "shuffled", "said"),
    [
        (UP, UP, UP, "In rank the graph pays here"),
        (UP, UP, EVEN, "what pays there is the net, not the graph"),
        (UP, EVEN, UP, "what pays there is the net, not the graph"),
        (UP, DOWN, UP, "what pays there is the net, not the graph"),
        (UP, UP, None, "were not run, so nothing here shows that it is the graph"),
        (UP, None, None, "were not run, so nothing here shows that it is the graph"),
        (UP, EVEN, None, "what pays there is the net, not the graph"),
        (UP, UP, (0.02, np.nan, np.nan), "were not run, so nothing here shows that it is the graph"),
        (EVEN, UP, UP, "In rank the two cannot be told apart, so nothing here shows that the graph pays"),
        (DOWN, UP, UP, "In rank the graph does not pay here"),
        ((0.0003, 0.0001, 0.0005), UP, UP, "In rank the two cannot be told apart"),  # nothing, as it is printed
        ((0.02, np.nan, np.nan), UP, UP, "Without an interval there is no verdict on rank"),
    ],
)
def test_the_graph_pays_only_where_the_net_beats_lightgbm_and_both_controls(
    lightgbm: Interval, mlp: Interval | None, shuffled: Interval | None, said: str
) -> None:
    found = verdict(pd.DataFrame(compared("spearman", lightgbm, mlp, shuffled)))
    assert said in found
    assert ("the graph pays here" in found) == (said == "In rank the graph pays here")


def test_what_looked_like_the_graph_and_was_the_net() -> None:
    """A shop: +0.274 to LightGBM, while the same net has as much without the graph and on shuffled edges."""
    found = verdict(pd.DataFrame(compared("spearman", (0.274, 0.25, 0.3), (-0.01, -0.03, 0.01), (-0.002, -0.02, 0.02))))
    assert "the graph pays" not in found
    assert "what pays there is the net, not the graph" in found


def test_rank_may_be_even_where_error_and_distribution_are_better() -> None:
    """Of errors less is better."""
    rows = [
        *compared("spearman", EVEN, EVEN, EVEN),
        *compared("nmae", DOWN, DOWN, DOWN),
        *compared("crps", DOWN, DOWN, DOWN),
    ]
    found = verdict(pd.DataFrame(rows))
    assert "In error and distribution the graph pays here" in found
    assert "In rank the two cannot be told apart" in found
    worse = verdict(pd.DataFrame([*compared("spearman", EVEN), *compared("nmae", UP), *compared("crps", UP)]))
    assert "In error and distribution the graph does not pay here." in worse


def test_what_nobody_gave_is_not_spoken_of() -> None:
    """Estimators without quantiles have no CRPS."""
    rows = [*compared("spearman", UP, UP, UP), *compared("crps", (np.nan,) * 3, (np.nan,) * 3)]
    found = verdict(pd.DataFrame(rows))
    assert "CRPS" not in found
    assert "distribution" not in found
    assert verdict(make_results().query("estimator != 'gnn'")) == ""


def test_controls_of_one_fold_are_held_against_its_differences() -> None:
    """Of customers held out in parts, the headline is the mean over them, and the controls are of the last one."""
    whole = [*compared("spearman", UP), row("gnn", "spearman", 0.5)]
    last = [one | {"fold": "customers-4"} for one in [*compared("spearman", DOWN, UP, UP), row("gnn", "spearman", 0.5)]]
    first = [one | {"fold": "customers-0"} for one in [*compared("spearman", DOWN), row("gnn", "spearman", 0.5)]]
    found = verdict(pd.DataFrame([*whole, *first, *last]).assign(split="customers"))
    assert "In rank the graph pays here" in found


def test_a_table_has_no_columns_of_the_controls() -> None:
    """Their rows stand in it, and the verdict has the differences."""
    rows = [
        *compared("spearman", UP, UP, UP),
        row("mlp", "spearman", 0.5, 0.4, 0.6),
        row("gnn_shuffled", "spearman", 0.5),
    ]
    results = pd.concat([make_results(0.01, 0.02).query("metric != 'spearman_minus_lightgbm'"), pd.DataFrame(rows)])
    assert [name for name in comparison(results) if name.startswith("spearman_minus")] == [
        "spearman_minus_lightgbm", "spearman_minus_lightgbm_lo", "spearman_minus_lightgbm_hi",
    ]  # fmt: skip
    assert list(comparison(results)["estimator"]) == ["zero", "lightgbm", "mlp", "gnn_shuffled", "gnn", "other"]
    assert "In rank the graph pays here" in markdown(results)
