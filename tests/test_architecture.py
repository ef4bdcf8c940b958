"""Who may import whom, and what an agent's process is spared."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

SOURCE_ROOT = Path(__file__).resolve().parent.parent / "exporter"
PACKAGE = "livekit_exporter"
MODULES = {
    ".".join(path.relative_to(SOURCE_ROOT).with_suffix("").parts).removesuffix(".__init__"): path
    for path in sorted((SOURCE_ROOT / PACKAGE).rglob("*.py"))
}
HEAVY = ("prometheus_client", "yaml", "sqlalchemy", "pydantic", "aiohttp", "typer", "rich")

# Where a third-party package may be imported: modules whose name begins so.
ROOMS = {
    "livekit": ("livekit_exporter.agent", "livekit_exporter.demo"),
    "prometheus_client": ("livekit_exporter.sidecar",),
    "sqlalchemy": ("livekit_exporter.ledger",),
    "yaml": ("livekit_exporter.prices", "livekit_exporter.sidecar.config"),
    "aiohttp": ("livekit_exporter.sidecar", "livekit_exporter.demo"),
    "typer": ("livekit_exporter.cli",),
    "rich": (
        "livekit_exporter.cli",
        "livekit_exporter.demo",
        "livekit_exporter.prices.compare.output",
        "livekit_exporter.reports",
    ),
    "genai_prices": ("livekit_exporter.prices.compare.genai",),
    "plotext": ("livekit_exporter.reports",),
    "pyarrow": ("livekit_exporter.reports",),
    "scipy": ("livekit_exporter.reports",),
    "numpy": ("livekit_exporter.reports",),
    "statsmodels": ("livekit_exporter.reports",),
}

# What a room may import of ours. A leaf imports nothing.
ALLOWED = {
    "livekit_exporter.record": (),
    "livekit_exporter.contract": (),
    "livekit_exporter.files": (),
    "livekit_exporter.calls": ("livekit_exporter.calls", "livekit_exporter.record"),
    "livekit_exporter.agent": (
        "livekit_exporter.agent",
        "livekit_exporter.record",
        "livekit_exporter.files",
        "livekit_exporter.calls",
    ),
    "livekit_exporter.prices": ("livekit_exporter.prices", "livekit_exporter.record"),
    "livekit_exporter.reports": (
        "livekit_exporter.reports",
        "livekit_exporter.contract",
        "livekit_exporter.ledger",
        "livekit_exporter.export",
        "livekit_exporter.prices",
        "livekit_exporter.record",
    ),
}
ALLOWED_LAZILY = {
    "livekit_exporter.agent": ("livekit_exporter.prices",),
    "livekit_exporter.calls": ("livekit_exporter.prices",),
}


def inside(module: str, rooms: tuple[str, ...]) -> bool:
    """Whether a module is one of these or lies below one of them."""
    return any(module == room or module.startswith((f"{room}.", f"{room}_")) for room in rooms)


def imports(tree: ast.Module) -> Iterator[tuple[str, bool]]:
    """Every module that is imported, and whether it is on the way of a plain import."""
    eager = {id(node) for node in _eager(tree)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, id(node) in eager
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative imports hide who imports whom"
            module = node.module or ""
            yield module, id(node) in eager
            for alias in node.names:
                if f"{module}.{alias.name}" in MODULES:
                    yield f"{module}.{alias.name}", id(node) in eager


def _eager(node: ast.AST) -> Iterator[ast.AST]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        if isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING":
            yield from (inner for part in child.orelse for inner in (part, *_eager(part)))
            continue
        yield child
        yield from _eager(child)


IMPORTS = {name: set(imports(ast.parse(path.read_text("utf-8")))) for name, path in MODULES.items()}


def test_modules_were_found() -> None:
    """A walk that finds nothing would pass every test below."""
    assert {"livekit_exporter", "livekit_exporter.record", "livekit_exporter.cli.app"} <= set(
        MODULES
    )


@pytest.mark.parametrize(("package", "rooms"), ROOMS.items(), ids=ROOMS)
def test_third_party_package_stays_in_its_rooms(package: str, rooms: tuple[str, ...]) -> None:
    """Each dependency has one place, so that leaving it is one change."""
    users = {
        module
        for module, imported in IMPORTS.items()
        if any(name == package or name.startswith(f"{package}.") for name, _ in imported)
    }

    assert {module for module in users if not inside(module, rooms)} == set()


@pytest.mark.parametrize(("room", "allowed"), ALLOWED.items(), ids=ALLOWED)
def test_room_imports_only_what_it_may(room: str, allowed: tuple[str, ...]) -> None:
    """The flow goes one way: leaves know nothing, the agent knows no sidecar."""
    lazily = allowed + ALLOWED_LAZILY.get(room, ())
    strays = {
        (module, name)
        for module, imported in IMPORTS.items()
        if module == room or module.startswith(f"{room}.")
        for name, eager in imported
        if name.startswith(f"{PACKAGE}.") and not inside(name, allowed if eager else lazily)
    }

    assert strays == set()


def test_nothing_imports_the_command_line() -> None:
    """Except `python -m livekit_exporter`, which is the command line."""
    users = {
        module
        for module, imported in IMPORTS.items()
        if any(name == "livekit_exporter.cli.app" for name, _ in imported)
    }

    assert users == {"livekit_exporter.__main__"}


def test_price_lists_of_others_are_read_on_demand() -> None:
    """Calls and the sidecar have no use for them; the command line asks when told to."""
    room = "livekit_exporter.prices.compare"
    users = {
        (module, eager)
        for module, imported in IMPORTS.items()
        if not inside(module, (room,))
        for name, eager in imported
        if inside(name, (room,))
    }

    assert users == {("livekit_exporter.cli.prices", False)}


def run(code: str) -> subprocess.CompletedProcess[str]:
    """Run code in a fresh interpreter."""
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)


@pytest.mark.parametrize("module", ["livekit_exporter", "livekit_exporter.agent"])
def test_import_loads_nothing_heavy(module: str) -> None:
    """The job process pays for what it uses only."""
    code = f"import sys, {module}; print(sorted(set({HEAVY!r}) & set(sys.modules)))"

    result = run(code)

    assert result.stdout == "[]\n", result.stderr


@pytest.mark.parametrize("module", ["livekit_exporter", "livekit_exporter.agent"])
def test_import_needs_no_livekit(module: str) -> None:
    """A sidecar image does without it."""
    result = run(f"import sys; sys.modules['livekit'] = None; import {module}")

    assert result.returncode == 0, result.stderr


def test_collector_loads_nothing_of_the_sidecar() -> None:
    """What `attach` imports is the collector, no prices; LiveKit brings aiohttp and pydantic."""
    code = (
        "import sys, livekit_exporter; livekit_exporter.attach; print(sorted(m for m in sys.modules"
        " if m.startswith(('livekit_exporter.sidecar', 'livekit_exporter.ledger',"
        " 'livekit_exporter.prices', 'sqlalchemy'))))"
    )

    result = run(code)

    assert result.stdout == "[]\n", result.stderr


def test_public_names_are_there() -> None:
    """Everything that `__all__` promises can be imported, and nothing else appears."""
    import livekit_exporter

    for name in livekit_exporter.__all__:
        assert getattr(livekit_exporter, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'detach'"):
        _ = livekit_exporter.detach  # type: ignore[attr-defined]


def test_a_removed_name_says_what_takes_its_place() -> None:
    """For code that was written against an older version."""
    with pytest.raises(
        ImportError, match=r"BatchSpanProcessor\(enriched\(OTLPSpanExporter\(\)\)\)"
    ):
        from livekit_exporter import enrich_spans  # type: ignore[attr-defined]  # noqa: F401
