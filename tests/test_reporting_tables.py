"""Tables say what the numbers say, in a terminal and in Markdown; a page changes between its markers or not at all."""

from io import StringIO
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from results_by_hand import make_results, row
from rich.console import Console

from patron.evaluation.evaluate import ATTAINED, GAIN
from patron.reporting.rows import headline
from patron.reporting.tables import comparison, console, markdown, ordered, write_between_markers


def test_order() -> None:
    assert ordered(["stack", "gnn", "zero", "lightgbm", "btyd"]) == ["zero", "btyd", "lightgbm", "gnn", "stack"]
    known = ["lightgbm_rfm", "lightgbm_flat", "lightgbm", "lightgbm_twohop", "gnn", "oracle_past", "oracle"]
    assert ordered(["a", *reversed(known)]) == [*known, "a"]


def test_comparison_has_one_row_an_estimator() -> None:
    table = comparison(make_results()).set_index("estimator")
    assert list(table.index) == ["zero", "lightgbm", "gnn", "other"]
    columns = ["spearman", "spearman_lo", "spearman_sd", "spearman_minus_lightgbm_hi"]
    assert table.loc[["gnn"], columns].to_numpy().tolist() == [[0.806, 0.79, 0.0028, 0.001]]
    assert table["spearman_minus_lightgbm"].isna().to_dict()["lightgbm"]


def test_markdown() -> None:
    lines = markdown(make_results()).splitlines()
    cells = {line.split(" | ")[0]: line for line in lines}
    assert lines[0] == "| estimator | Spearman | MAE | revenue bias | 80 % covers | Δ Spearman to LightGBM |"
    assert "| **0.812 [0.790, 0.830]** |" in cells["| `lightgbm`"]
    assert (
        "| 0.806 [0.790, 0.820] ± 0.003 | **17.89** | **−2.0 %** | 77.1 % | −0.006 [−0.012, +0.001] |"
        in cells["| `gnn`"]
    )
    assert "| 1,235 | −100.0 % | – |" in cells["| `zero`"]


def test_small_print() -> None:
    text = markdown(make_results())
    for part in ("trained on the past, tested on the future", "n = 2,500", "0.936", "`python x.py`", "`abc1234`"):
        assert part in text
    text = markdown(make_results().assign(split="customers"))
    assert "customers held out at one cutoff; not a test of time" in text


def test_console_prints_every_estimator() -> None:
    out = StringIO()
    Console(file=out, width=160).print(console(make_results()))
    for part in ("lightgbm", "[0.790, 0.820]", "0.806 ± 0.003", "abc1234", "cannot be told apart"):
        assert part in out.getvalue()


def test_one_table_is_of_one_experiment() -> None:
    with pytest.raises(ValueError, match="ltv_1y"):
        headline(pd.concat([make_results(), make_results().assign(task="ltv_1y")]))


def test_write_between_markers(tmp_path: Path) -> None:
    path = tmp_path / "README.md"
    begin, end = "<!-- results:main:begin -->", "<!-- results:main:end -->"
    path.write_text(f"# é\n{begin}\nold\n{end}\nafter\n", encoding="utf-8")
    write_between_markers(path, key="main", text="new | table\n")
    write_between_markers(path, key="main", text="new | table\n")
    assert path.read_text(encoding="utf-8") == f"# é\n{begin}\nnew | table\n{end}\nafter\n"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("content", ["", "{begin}", "{end}{begin}", "{begin}{begin}{end}"])
def test_missing_markers_leave_the_file_alone(tmp_path: Path, content: str) -> None:
    path = tmp_path / "README.md"
    text = content.format(begin="<!-- results:main:begin -->", end="<!-- results:main:end -->")
    path.write_text(text)
    with pytest.raises(ValueError, match="results:main:begin"):
        write_between_markers(path, key="main", text="new")
    assert path.read_text() == text


def test_metrics_of_a_flag_are_shown() -> None:
    more = [row("gnn", "roc_auc", 0.71, 0.6, 0.8), row("gnn", "average_precision", 0.4), row("gnn", "brier", 0.12345)]
    more += [row("lightgbm", "roc_auc", 0.7), row("lightgbm", "average_precision", 0.5), row("lightgbm", "brier", 0.2)]
    text = markdown(pd.concat([make_results(), pd.DataFrame(more)]))
    for part in ("ROC AUC | PR AUC | Brier", "**0.710** | 0.400 | **0.123**", "0.700 | **0.500** | 0.200"):
        assert part in text
    assert "ROC AUC" not in markdown(make_results())


# Worlds: oracles, and the share of the attainable gain


def of_a_world(spearman: float = 0.9) -> pd.DataFrame:
    """The results with an RFM and both oracles, who are better than all others. Who is ranked has a share of the gain,
    but for the two between which it lies."""
    rows = [
        row("rfm", "spearman", 0.7, 0.69, 0.71), row("rfm", "bias", -0.5),
        row("oracle", "spearman", spearman, 0.89, 0.91), row("oracle", "bias", 0.001),
        row("oracle_past", "spearman", spearman - 0.01, 0.88, 0.9), row("oracle_past", "bias", 0.002),
        row("gnn", GAIN, 0.53, 0.4, 0.6), row("lightgbm", GAIN, 0.56, 0.45, 0.65),
        row("oracle_past", GAIN, 0.95, 0.9, 1), row("zero", GAIN, -3.5), row("other", GAIN, -3),
        row("gnn", ATTAINED, 0.58, 0.43, 0.66), row("lightgbm", ATTAINED, 0.6), row("zero", ATTAINED, -3.6),
        row("other", ATTAINED, -3.1),
    ]  # fmt: skip
    return pd.concat([make_results(), pd.DataFrame(rows)], ignore_index=True)


def lines_of(results: pd.DataFrame) -> dict[str, str]:
    return {line.split("`")[1]: line for line in markdown(results).splitlines() if line.startswith("| `")}


def test_the_share_of_the_attainable_gain_is_shown_and_explained() -> None:
    text = markdown(of_a_world())
    assert " | of attainable gain | of gain to oracle | Δ Spearman to LightGBM |" in text
    lines = lines_of(of_a_world())
    assert "| 58.0 % [43.0 %, 66.0 %] | 53.0 % [40.0 %, 60.0 %] |" in lines["gnn"]
    assert "| – | – |" in lines["rfm"]
    assert "| – | 95.0 %" in lines["oracle_past"]
    assert "Oracle: knows the latent state of every customer of this made-up world." in text
    assert "no history tells more." in text
    assert "Attainable gain: from RFM to oracle that knows the past. Gain to the oracle: from RFM to oracle." in text
    out = StringIO()
    Console(file=out, width=160).print(console(of_a_world()))
    for part in ("58.0 %", "[43.0 %, 66.0 %]", "Attainable gain: from RFM to oracle that knows the past."):
        assert part in " ".join(out.getvalue().split())


def test_the_small_print_names_the_floor_and_the_ceiling_that_were_chosen() -> None:
    """`evaluation.floor` and `evaluation.ceiling` are anybody's choice."""
    results = of_a_world()[lambda rows: rows["estimator"] != "oracle"]
    shares = results["metric"] == GAIN
    results = pd.concat([results[~(shares & results["estimator"].isin(["lightgbm", "oracle_past"]))],
                         pd.DataFrame([row("rfm", GAIN, -1.2)])])  # fmt: skip
    text = markdown(results)
    assert "Gain to the oracle: from LightGBM to oracle that knows the past." in text
    assert "Oracle: knows" not in text


def test_without_a_share_nothing_is_said_of_it() -> None:
    """Neither without oracles, nor where there is nothing to be gained."""
    nothing = of_a_world()
    nothing.loc[nothing["metric"].isin([GAIN, ATTAINED]), ["value", "lo", "hi"]] = np.nan
    for results in (make_results(), nothing):
        assert "ttainable gain" not in markdown(results)
        assert "ain to the oracle" not in markdown(results)


def test_no_oracle_is_bold_and_the_best_of_the_others_is() -> None:
    for spearman in (0.9, 0.812):  # as good as LightGBM, too
        lines = lines_of(of_a_world(spearman))
        assert "**" not in lines["oracle"] + lines["oracle_past"]
        assert "**0.812 [" in lines["lightgbm"]
        assert "**−2.0 %**" in lines["gnn"]
        assert list(lines) == ["zero", "rfm", "lightgbm", "gnn", "oracle_past", "oracle", "other"]


def test_one_estimator_beside_the_oracles_is_not_the_best_of_itself() -> None:
    alone = of_a_world()[lambda rows: rows["estimator"].isin(["gnn", "oracle", "oracle_past"])]
    assert "**" not in markdown(alone)
