"""A collapse is said of the net that predicts, and of no other that was fitted on the way."""

from pathlib import Path
from typing import Any

import pytest
import torch
from settings import fit

from patron.estimators import gnn
from patron.nn.model import LTVModel
from patron.tables.database import Database
from patron.task.split import Fold


def constant(model: LTVModel) -> LTVModel:
    """The model, which now says the same of everybody."""
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
    return model


@pytest.mark.parametrize(("stage", "said"), [("tune", False), ("refit", True), (None, False)])
def test_a_collapse_is_said_of_the_net_that_predicts(
    stage: str | None, said: bool, shop: Database, fold: Fold, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    """Whether it is the net that was tuned or the one that was refitted that says the same of everybody."""
    found = {"tune": gnn.GNN._tune, "refit": gnn.GNN._refit}

    def collapsed(self: gnn.GNN, *args: Any, **named: Any) -> Any:
        result = found[stage or ""](self, *args, **named)
        constant(result.model)
        return result

    if stage is not None:
        monkeypatch.setattr(gnn.GNN, f"_{stage}", collapsed)
    fit("gnn", shop, fold=fold, folder=tmp_path)
    assert ("the GNN has collapsed" in caplog.text) == said
