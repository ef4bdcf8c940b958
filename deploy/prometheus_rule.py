"""The PrometheusRule of deploy/kubernetes: the groups of prometheus/rules, as they are written.

python -m deploy.prometheus_rule           write
python -m deploy.prometheus_rule --check   write nothing, fail when it is stale
"""

import sys
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from deploy.configuration import ROOT

RULES: Final = ROOT / "prometheus" / "rules"
GENERATED: Final = ROOT / "deploy" / "kubernetes" / "base" / "prometheusrule.yaml"

_HEAD: Final = """\
# Written by make generate from prometheus/rules; change it there.
apiVersion: monitoring.coreos.com/v1
kind: PrometheusRule
metadata:
  name: livekit-exporter
spec:
  groups:
"""
_GROUPS: Final = "groups:\n"


def rendered() -> str:
    """The resource with the text of every rule file, comments included.

    Raises:
        ValueError: A rule file does not begin with its groups.
    """
    return _HEAD + "".join(_groups(path) for path in sorted(RULES.glob("*.yml")))


def _groups(path: Path) -> str:
    comment, found, groups = path.read_text("utf-8").partition(_GROUPS)
    if not found or any(line and not line.startswith("#") for line in comment.splitlines()):
        raise ValueError(f"{path}: expected comments and then 'groups:'")
    # Shifted as text: block scalars say their indentation relative to their parent.
    return textwrap.indent(comment, "    ") + textwrap.indent(groups, "  ")


def main(arguments: Sequence[str]) -> int:
    """Write the file, or with `--check` fail when it is stale."""
    text = rendered()
    if GENERATED.exists() and GENERATED.read_text("utf-8") == text:
        return 0
    if "--check" in arguments:
        sys.stderr.write(f"{GENERATED.relative_to(ROOT)}: stale, run make generate\n")
        return 1
    GENERATED.write_text(text, "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
