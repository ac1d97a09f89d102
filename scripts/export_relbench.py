"""Write the data and the task of an experiment as a data set of RelBench v3.

python scripts/export_relbench.py experiment=shop out=relbench/shop
"""

from pathlib import Path

from patron.config import entry
from patron.serving.relbench import ExportConfig, write


def main(config: ExportConfig) -> None:
    written = write(config)
    for name, rows in {**written.tables, **written.labels}.items():
        print(f"{rows:>12,}  {name}")
    size = sum(file.stat().st_size for file in written.folder.rglob("*") if file.is_file())
    print(f"wrote {written.folder}, {size / 1e6:.1f} MB; load it with")
    print(f'  task = relbench.load_dataset("{written.folder}").load_task("{written.task}")')


if __name__ == "__main__":
    entry(main, schema=ExportConfig, configs=Path(__file__).parents[1] / "configs", name="export_relbench")
