"""Predictions of many customers part by part: what has been written stays written, and a run that was stopped goes on
where it was."""

import json
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from tqdm import tqdm

from patron.estimators import Estimator
from patron.files import whole_file, write_text
from patron.tables.database import Database
from patron.task.ltv import TaskTable


@dataclass(frozen=True)
class Parts:
    """The predictions frame of `rows` in `number` files of `folder`, a customer always in the same one.

    `made_of` is what they follow from: a folder that says otherwise is another's.
    """

    folder: Path
    rows: TaskTable
    number: int
    made_of: Mapping[str, Any]

    def write(self, estimator: Estimator, db: Database) -> None:
        """Predict the parts that are not there yet. Raises ValueError for a folder with parts of something else."""
        self._begin()
        missing = [k for k in range(self.number) if not self._file(k).exists()]
        bar = tqdm(missing, unit="part", desc="score", initial=self.number - len(missing), total=self.number)
        for k in bar:
            said = estimator.predict(db, rows=self.rows.where(self._of == k))
            with whole_file(self._file(k)) as partial:
                said.to_parquet(partial, index=False)

    def __iter__(self) -> Iterator[tuple[np.ndarray, pd.DataFrame]]:
        """Of each part, which of the rows it has and what is predicted of them."""
        for k in range(self.number):
            yield np.flatnonzero(self._of == k), pd.read_parquet(self._file(k))

    def rank_scores(self) -> np.ndarray:
        """Those of all rows, in their order: [n]."""
        scores = np.empty(len(self.rows))
        for k in range(self.number):
            scores[self._of == k] = pd.read_parquet(self._file(k), columns=["rank_score"])["rank_score"]
        return scores

    def remove(self) -> None:
        """All that `write` has written."""
        shutil.rmtree(self.folder)

    def _begin(self) -> None:
        note, said = self.folder / "made_of.json", json.dumps({**self.made_of, "parts": self.number}, sort_keys=True)
        if not note.exists():
            self.folder.mkdir(parents=True, exist_ok=True)
            write_text(note, said)
        elif note.read_text() != said:
            raise ValueError(
                f"{self.folder} holds parts of other scores ({note.read_text()}, not {said}); remove it, or give "
                f"another folder: out=..."
            )

    def _file(self, k: int) -> Path:
        return self.folder / f"part-{k:05d}.parquet"

    @cached_property
    def _of(self) -> np.ndarray:
        return self.rows.bucket(self.number)
