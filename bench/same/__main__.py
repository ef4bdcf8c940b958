"""Run two versions of the project on the same inputs and list every output that differs.

It starts the working tree and a commit, checked out beside it, with the packages of the
environment it runs in: replay of recorded events, a sidecar from its first journal to a restart,
every command about the ledger and about prices.  The clock stands still in all programs.
"""

import argparse
import difflib
import hashlib
import json
import re
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from fnmatch import fnmatch
from pathlib import Path
from typing import Final

import yaml

from bench.same import commands, sidecar, streams
from bench.same.version import Version

_HERE: Final = Path(__file__).resolve().parent
_ROOT: Final = _HERE.parent.parent
_SHOWN_LINES: Final = 12
_LONGEST_LINE: Final = 300
_DIGITS: Final = 13
_LONG_NUMBER: Final = re.compile(rb"\d+\.\d{6,}(?:e[-+]?\d+)?")
_STREAMS: Final = ("stream.jsonl", "sentinels.jsonl")


def _replayed(version: Version) -> Iterator[tuple[str, bytes]]:
    """Journals of recorded events, under one name for each call."""
    generated = version.place / "generated.jsonl"
    generated.write_bytes(streams.generated())
    files = [_ROOT / "tests" / "data" / name for name in _STREAMS] + [generated]
    for file in files:
        data_dir = version.data_dir(f"replay-{file.stem}")
        [answer] = version.run([["replay", str(file), "--data-dir", str(data_dir), "--json"]])
        yield f"replay {file.name}", b"%d\n" % answer.status + answer.out
        for journal in sorted((data_dir / "journal").glob("*.jsonl")):
            yield f"replay {file.name}: {journal.name}", _complaints_added(journal.read_bytes())


def _complaints_added(journal: bytes) -> bytes:
    """Add up the writer's complaints in one line at the end of the journal.

    How often it complains depends on how fast its thread is.
    """
    rejected: Counter[str] = Counter()
    lines = []
    for line in journal.splitlines(keepends=True):
        record = json.loads(line)
        if record["kind"] == "collector":
            rejected.update(record["rejected"])
        else:
            lines.append(line)
    return b"".join([*lines, json.dumps(dict(sorted(rejected.items()))).encode()])


def _without_words(schema: object) -> object:
    """A JSON Schema without the sentences for people."""
    if isinstance(schema, list):
        return [_without_words(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    return {
        name: _without_words(part)
        for name, part in schema.items()
        if not (name in {"description", "title"} and isinstance(part, str))
    }


def _kept(version: Version) -> Iterator[tuple[str, bytes]]:
    """Files of the tree that programs of others read."""
    package = version.root / "exporter" / "livekit_exporter"
    for path in (
        package / "prices" / "prices.schema.json",
        version.root / "docs" / "call.schema.json",
        version.root / "docs" / "journal.schema.json",
    ):
        schema = _without_words(json.loads(path.read_text()))
        yield path.name, json.dumps(schema, indent=1, sort_keys=True).encode()
    yield "compiled.json", (package / "prices" / "compiled.json").read_bytes()
    for path in (
        *(version.root / "grafana" / "dashboards").glob("*.json"),
        *(version.root / "prometheus" / "rules").glob("*.yml"),
        version.root / "docs" / "journal.example.jsonl",
        version.root / "docs" / "langfuse_models.json",
    ):
        yield str(path.relative_to(version.root)), path.read_bytes()


def _everything(version: Version) -> Mapping[str, bytes]:
    version.place.mkdir()
    commands.write_inputs(version.place)
    config = version.place / "exporter.yaml"
    found = dict(_kept(version))
    found.update(_replayed(version))
    found.update(sidecar.served(version, version.data_dir("data"), config))
    found.update(commands.asked(version, version.data_dir("data"), config))
    found.update(commands.prices(version))
    return found


def _allowed() -> Mapping[str, str]:
    """Reasons by the pattern of the outputs that may differ."""
    listed = yaml.safe_load((_HERE / "allowed.yaml").read_text()) or []
    return {each["output"]: each["reason"] for each in listed}


def _difference(before: bytes, after: bytes) -> str:
    """The first lines that differ."""
    try:
        old, new = before.decode().splitlines(), after.decode().splitlines()
    except UnicodeDecodeError:
        return "    (bytes)"
    shown = list(difflib.unified_diff(old, new, "base", "head", n=0, lineterm=""))[2:]
    rest = len(shown) - _SHOWN_LINES
    cut = [f"    {line[:_LONGEST_LINE]}" for line in shown[:_SHOWN_LINES]]
    return "\n".join([*cut, *([f"    and {rest} lines more"] if rest > 0 else [])])


def _rounded(output: bytes) -> bytes:
    """Round long numbers: the last digits of a sum depend on which commit a record came in."""
    return _LONG_NUMBER.sub(lambda number: b"%.*g" % (_DIGITS, float(number[0])), output)


def _compare(base: Mapping[str, bytes], head: Mapping[str, bytes]) -> int:
    """Print a line for each output; the number of those that differ without a reason."""
    reasons, failed, used = _allowed(), 0, set()
    for name in [*base, *(name for name in head if name not in base)]:
        before, after = base.get(name), head.get(name)
        if before is not None and before == after:
            digest = hashlib.sha256(before).hexdigest()[:12]
            print(f"same     {len(before):>9,} bytes  {digest}  {name}")
            continue
        if before is not None and after is not None and _rounded(before) == _rounded(after):
            print(f"rounded  {len(before):>9,} bytes  same to {_DIGITS} digits  {name}")
            continue
        pattern = next((each for each in reasons if fnmatch(name, each)), None)
        if pattern is not None:
            used.add(pattern)
            print(f"allowed  {name}: {reasons[pattern]}")
        else:
            failed += 1
            print(f"DIFFERS  {name}")
        print(_difference(before or b"(missing)", after or b"(missing)"))
    for pattern in reasons.keys() - used:
        print(f"note: nothing that '{pattern}' allows did differ")
    print(f"{len(base)} outputs compared, {failed} differ without a reason")
    return failed


def main() -> int:
    """Compare, and give the exit status."""
    parser = argparse.ArgumentParser(prog="python -m bench.same", description=__doc__)
    parser.add_argument("--base", required=True, help="Commit to compare the working tree with.")
    base = parser.parse_args().base
    folder = Path(tempfile.mkdtemp(prefix="same-"))
    tree = folder / "tree"
    git = ("git", "-C", str(_ROOT), "worktree")
    try:
        subprocess.run([*git, "add", "--quiet", "--detach", str(tree), base], check=True)
        versions = Version("base", tree, folder / "base"), Version("head", _ROOT, folder / "head")
        with ThreadPoolExecutor(len(versions)) as running:
            before, after = running.map(_everything, versions)
        return 1 if _compare(before, after) else 0
    finally:
        subprocess.run([*git, "remove", "--force", str(tree)], check=False)
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
