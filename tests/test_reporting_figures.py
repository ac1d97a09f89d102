"""Figures draw without pyplot, and are saved whole or not at all."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from results_by_hand import draw, make_results, row

from patron.evaluation.curves import decile_table
from patron.reporting.plots import comparison_figure, curves_figure, decile_figure, gains_figure, save, write_curves


def test_figures_draw(tmp_path: Path) -> None:
    y = np.random.default_rng(0).lognormal(3, 1, 200)
    deciles = decile_table(y, pd.DataFrame({"rank_score": y, "ltv_mean": y}))
    draw(decile_figure(deciles, title="tiny"), tmp_path)
    draw(gains_figure(y, {"gnn": y, "zero": np.zeros(200)}), tmp_path)
    for metric in ("spearman", "bias", "spearman_minus_lightgbm", "mae"):
        draw(comparison_figure(make_results(), metric=metric, without=["zero"]), tmp_path)
    with pytest.raises(ValueError, match="gini"):
        comparison_figure(make_results(), metric="gini")


def test_figures_do_not_touch_pyplot() -> None:
    """pyplot keeps figures alive and picks a display; nothing in reporting may import it."""
    import patron.reporting.plots as plots

    assert "pyplot" not in Path(plots.__file__).read_text().replace("no pyplot", "")


@pytest.mark.parametrize(("name", "start"), [("a.png", b"\x89PNG"), ("a.svg", b"<?xml"), ("a.b.pdf", b"%PDF")])
def test_a_figure_is_saved_whole(tmp_path: Path, name: str, start: bytes) -> None:
    path = tmp_path / "new" / "folder" / name
    assert save(Figure(figsize=(1, 1)), path) == path
    assert path.read_bytes().startswith(start)
    assert list(path.parent.iterdir()) == [path]


def test_a_figure_that_cannot_be_saved_leaves_the_old_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "figure.png"
    path.write_text("old")

    def half(_: Figure, to: Path, **__: object) -> None:
        Path(to).write_text("half of it")
        raise OSError("No space left")

    monkeypatch.setattr(Figure, "savefig", half)
    with pytest.raises(OSError, match="No space"):
        save(Figure(), path)
    assert path.read_text() == "old"


# Curves by tenths


def make_tenths() -> pd.DataFrame:
    """A GNN whose tenths of 50 spend 10, 9, ... 1 and were promised one more, with intervals; a zero, all of whose rows
    are tied; and the perfect ranking."""
    rows = [row("gnn", "spearman", 0.8, 0.7, 0.9), row("zero", "spearman", 0.0)]
    for k in range(1, 11):
        where, spend = {"slice": f"decile_{k}"}, 11.0 - k
        rows += [
            row("gnn", "label_mean", spend, **where), row("gnn", "prediction_mean", spend + 1, **where),
            row("gnn", "coverage80_randomised", 0.8 - k / 100, 0.7, 0.9, **where),
            row("zero", "label_mean", 5.5 if k == 5 else np.nan, **where),
            row("zero", "prediction_mean", 0 if k == 5 else np.nan, **where),
            row("ceiling", "label_mean", 55.0 if k == 1 else 0.0, **where),
        ]  # fmt: skip
    frame = pd.DataFrame(rows)
    tied = frame["estimator"].eq("zero") & frame["slice"].str.startswith("decile")
    frame.loc[frame["slice"].str.startswith("decile"), "n"] = 50
    frame.loc[tied, "n"] = np.where(frame.loc[tied, "slice"] == "decile_5", 500, 0)
    return frame.sample(frac=1, random_state=0)


def lines_in(figure: Figure, panel: int) -> dict[str, np.ndarray]:
    return {str(line.get_label()): np.asarray(line.get_xydata()) for line in figure.axes[panel].lines}


def test_curves(tmp_path: Path) -> None:
    figure = curves_figure(make_tenths())
    draw(figure, tmp_path)
    gained, calibrated, covered = (lines_in(figure, panel) for panel in range(3))
    assert set(gained) == {"GNN", "perfect", "chance"}  # the main estimators that are there
    np.testing.assert_allclose(gained["GNN"][[0, 1, 2, 10]], [[0, 0], [0.1, 10 / 55], [0.2, 19 / 55], [1, 1]])
    np.testing.assert_allclose(gained["perfect"][1], [0.1, 1])
    np.testing.assert_allclose(calibrated["GNN"][0], [11, 10])
    np.testing.assert_allclose(covered["GNN"][[0, 9]], [[1, 0.79], [10, 0.7]])


def test_curves_without_any_main_estimator_are_of_all(tmp_path: Path) -> None:
    figure = curves_figure(make_tenths().query("estimator != 'gnn'"))
    draw(figure, tmp_path)
    gained = lines_in(figure, 0)
    np.testing.assert_allclose(gained["zero"], [[0, 0], [1, 1]])  # all are tied: straight through
    assert "zero" not in lines_in(figure, 2)


def test_curves_are_written_where_there_are_any(tmp_path: Path) -> None:
    (path,) = write_curves(make_tenths(), name="tiny", folder=tmp_path)
    assert path == tmp_path / "tiny_curves.png"
    assert path.exists()
    nothing = make_results()
    assert write_curves(nothing, name="none", folder=tmp_path) == []
    with pytest.raises(ValueError, match="300 rows"):
        curves_figure(nothing)
