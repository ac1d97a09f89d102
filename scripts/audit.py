"""Look for leaks in an experiment: scramble the future, rename the customers, compare. Exit code 1 if there are any.

python scripts/audit.py experiment=shop estimator=[gnn]
"""

import sys
from pathlib import Path

from rich.console import Console

from patron.audit import AuditConfig, audit, findings
from patron.config import entry


def main(config: AuditConfig) -> None:
    checks, screen = audit(config), Console(soft_wrap=True, highlight=False)
    for check in checks:
        verdict = f"[red]{len(check.findings)} found[/]" if check.findings else "[green]ok[/]"
        screen.print(f"{check.name:<11}{verdict}  {check.measured}")
    found = findings(checks)
    for finding in found:
        print(f"leak: {finding}", file=sys.stderr)
    sys.exit(1 if found else 0)


if __name__ == "__main__":
    entry(main, schema=AuditConfig, configs=Path(__file__).parents[1] / "configs", name="audit")
