"""Look for leaks in an experiment: change the future, rename the customers, compare; ask the tables what they know.

Exit code 1 if a leak is certain, 3 if there are suspicions alone.

python scripts/audit.py experiment=shop estimator=[gnn]
python scripts/audit.py --config-dir my experiment=my_shop earlier=my/export_of_last_month
"""

import sys
from pathlib import Path

from rich.console import Console

from patron.audit import AuditConfig, audit, findings
from patron.config import entry

SAID = {
    "leak": "something knows what comes after the cutoff: believe no figure, mend it, and audit again",
    "suspicion": "this may be honest, or a leak: find out where it comes from before a figure is believed",
}


def main(config: AuditConfig) -> None:
    checks, screen = audit(config), Console(soft_wrap=True, highlight=False)
    for check in checks:
        verdict = f"[red]{len(check.findings)} found[/]" if check.findings else "[green]ok[/]"
        screen.print(f"{check.name:<11}{verdict}  {check.measured}")
    leaks, suspicions = ([one for one in findings(checks) if one.certain is certain] for certain in (True, False))
    for (kind, advice), found in zip(SAID.items(), (leaks, suspicions), strict=True):
        lines = [str(finding) if finding.check == kind else f"{kind}: {finding}" for finding in found]
        print("\n".join([*lines, advice] if found else []), end="\n" if found else "", file=sys.stderr)
    sys.exit(1 if leaks else 3 if suspicions else 0)


if __name__ == "__main__":
    entry(main, schema=AuditConfig, configs=Path(__file__).parents[1] / "configs", name="audit")
