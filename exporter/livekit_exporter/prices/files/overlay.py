"""The user's own prices: a file of the shipped files' shape, merged over them by id.

What an entry or a provider of the file says replaces what the shipped one says, key by
key; hosts, names, labels and defaults of a provider are added to.  The merged whole is
checked, so a mistake is shown on its line of the user's file.
"""

from pathlib import Path
from typing import Final

from livekit_exporter.prices.compiled import CompiledCatalogue
from livekit_exporter.prices.files.check import PriceFile
from livekit_exporter.prices.files.compile import compiled, read, shipped
from livekit_exporter.prices.files.located import Items, Located, Table, Text

_ADDED_TO: Final = ("hosts", "names", "labels", "defaults")
_PLAN: Final = ("usd_per_1m_credits", "source", "checked")
_BILLED: Final = ("basis", "prices", "fallback", "min_seconds_per_request", "round_up_seconds")


def load(path: Path) -> CompiledCatalogue:
    """Compile the shipped prices with a user's file over them.

    Args:
        path: The user's file.

    Raises:
        OSError: It cannot be read.
        PriceFileError: There are mistakes; it carries all of them.
    """
    return compiled(merged(shipped(), read(path)))


def merged(files: list[PriceFile], overlay: PriceFile) -> list[PriceFile]:
    """Put a user's file over others; what it completes or replaces leaves the others.

    Args:
        files: Price files that have no mistakes.
        overlay: The user's file, which may have some: they are left for the check.
    """
    root = overlay.root
    if not isinstance(root, Table):
        return [*files, overlay]
    providers, entries = _providers(root), _entries(root)
    rest = []
    for file in files:
        ours = file.root
        if not isinstance(ours, Table):
            rest.append(file)
            continue
        values = dict(ours.values)
        values["providers"], below = _without(_providers(ours), providers)
        providers |= {name: _over(below[name], providers[name], _ADDED_TO, _PLAN) for name in below}
        kept = []
        for node in _items(ours):
            entry_id = _id(node)
            if entry_id is not None and entry_id in entries:
                entries[entry_id] = _entry_over(node, entries[entry_id])
            else:
                kept.append(node)
        values["entries"] = Items(tuple(kept), ours.line)
        rest.append(PriceFile(file.name, Table(values, {**ours.lines}, ours.line)))
    values = dict(root.values)
    declared = values.get("providers")
    if isinstance(declared, Table):
        values["providers"] = Table(providers, declared.lines, declared.line)
    listed = values.get("entries")
    if isinstance(listed, Items):
        seen: set[str] = set()
        nodes = []
        for node in listed.values:
            entry_id = _id(node)
            # An id that stands there twice stays as it is, for the check to find.
            first = entry_id is not None and entry_id not in seen
            nodes.append(entries[entry_id] if first and entry_id is not None else node)
            seen.add(entry_id or "")
        values["entries"] = Items(tuple(nodes), listed.line)
    return [*rest, PriceFile(overlay.name, Table(values, root.lines, root.line))]


def _providers(root: Table) -> dict[str, Located]:
    node = root.values.get("providers")
    return dict(node.values) if isinstance(node, Table) else {}


def _without(
    ours: dict[str, Located], theirs: dict[str, Located]
) -> tuple[Table, dict[str, Located]]:
    """Providers that stay with their file, and those that the user's file completes."""
    kept = {name: node for name, node in ours.items() if name not in theirs}
    lines = {name: node.line for name, node in kept.items()}
    return Table(kept, lines, 1), {name: ours[name] for name in ours if name in theirs}


def _items(root: Table) -> tuple[Located, ...]:
    node = root.values.get("entries")
    return node.values if isinstance(node, Items) else ()


def _entries(root: Table) -> dict[str, Located]:
    found: dict[str, Located] = {}
    for node in _items(root):
        entry_id = _id(node)
        if entry_id is not None:
            found.setdefault(entry_id, node)
    return found


def _id(node: Located) -> str | None:
    named = node.values.get("id") if isinstance(node, Table) else None
    return named.value.strip() if isinstance(named, Text) else None


def _entry_over(base: Located, top: Located) -> Located:
    """Merge an entry; what is said to be free loses its price, what is priced is free no more."""
    if isinstance(base, Table) and isinstance(top, Table):
        gone = set(_BILLED) if "free" in top.values else set()
        if any(key in top.values for key in _BILLED):
            gone.add("free")
        values = {key: node for key, node in base.values.items() if key not in gone}
        base = Table(values, base.lines, base.line)
    return _over(base, top, (), ())


def _over(
    base: Located, top: Located, added_to: tuple[str, ...], together: tuple[str, ...]
) -> Located:
    """Merge two tables key by key; keys of `together` are all from one of them.

    What comes from below is placed on the line of the table above it: a message about
    the pair must lead to the user's file.
    """
    if isinstance(top, Text) and not top.value:
        top = Table({}, {}, top.line)
    if isinstance(base, Text) and not base.value:
        return top
    if not isinstance(base, Table) or not isinstance(top, Table):
        return top
    values: dict[str, Located] = {}
    for key, node in base.values.items():
        # The source of a plan's price says nothing of another plan's.
        if key not in together or not set(together) & set(top.values):
            values[key] = _moved(node, top.line)
    for key, node in top.values.items():
        values[key] = _joined(values[key], node) if key in added_to and key in values else node
    lines = {key: top.lines.get(key, top.line) for key in values}
    return Table(values, lines, top.line)


def _joined(base: Located, top: Located) -> Located:
    if isinstance(base, Items) and isinstance(top, Items):
        known = {node.value for node in base.values if isinstance(node, Text)}
        new = (n for n in top.values if not (isinstance(n, Text) and n.value in known))
        return Items((*base.values, *new), top.line)
    return _over(base, top, (), ())


def _moved(node: Located, line: int) -> Located:
    if isinstance(node, Items):
        return Items(tuple(_moved(item, line) for item in node.values), line)
    if isinstance(node, Table):
        values = {key: _moved(value, line) for key, value in node.values.items()}
        return Table(values, dict.fromkeys(values, line), line)
    return Text(node.value, line)
