"""Who may import whom, and what an agent's process is spared."""

import ast
import re
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
THIRD_PARTY = {
    "livekit": ("livekit_exporter.agent", "livekit_exporter.demo"),
    "opentelemetry": ("livekit_exporter.agent",),
    "prometheus_client": ("livekit_exporter.sidecar",),
    "sqlalchemy": ("livekit_exporter.ledger",),
    "alembic": ("livekit_exporter.ledger",),
    "yaml": ("livekit_exporter.prices",),
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

# The rooms, from the ground up. A room imports rooms of lower floors and nothing else of ours,
# so there is no cycle and nothing imports upwards. docs/architecture.md draws the same plan.
FLOORS: tuple[tuple[str, ...], ...] = (
    ("record", "files"),
    ("prices", "contract"),
    ("calls",),
    ("agent", "ledger"),
    ("export",),
    ("reports", "sidecar", "demo"),
    ("cli",),
)
FACE = ("", "__main__", "actions")
"""What users import or run. It hands names on, and only the command line imports it back."""

FLOOR_OF = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms}

# Doors that the floors would allow and that stay shut, with the reason.
SHUT = {
    "sidecar": ("agent", "the journal is all that joins the two processes"),
    "reports": ("agent", "reports ask the ledger, never a call"),
    "export": ("agent", "a document says what the ledger says"),
    "agent": ("ledger", "a call never waits for a database"),
}

LONGEST_MODULE = 500
LONGEST_FUNCTION = 60
RIDDLES = re.compile(r"(What|Whether|Who|Whom|Whose|Where|Which|That|Those|As much|As many|How)\s")


def room_of(module: str) -> str:
    """The room of a module: the first folder or file below the package."""
    return module.removeprefix(PACKAGE).lstrip(".").partition(".")[0]


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


TREES = {name: ast.parse(path.read_text("utf-8")) for name, path in MODULES.items()}
IMPORTS = {name: set(imports(tree)) for name, tree in TREES.items()}


def test_modules_were_found() -> None:
    """A walk that finds nothing would pass every test below."""
    assert {"livekit_exporter", "livekit_exporter.record", "livekit_exporter.cli.app"} <= set(
        MODULES
    )


@pytest.mark.parametrize(("package", "rooms"), THIRD_PARTY.items(), ids=THIRD_PARTY)
def test_third_party_package_stays_in_its_rooms(package: str, rooms: tuple[str, ...]) -> None:
    """Each dependency has one place, so that leaving it is one change."""
    users = {
        module
        for module, imported in IMPORTS.items()
        if any(name == package or name.startswith(f"{package}.") for name, _ in imported)
    }

    assert {module for module in users if not inside(module, rooms)} == set()


def test_every_module_is_in_a_room() -> None:
    """Only the public face, records, metrics and files lie in the root of the package."""
    assert {room_of(module) for module in MODULES} == {*FLOOR_OF, *FACE}


@pytest.mark.parametrize("room", FLOOR_OF)
def test_room_imports_lower_floors_only(room: str) -> None:
    """The flow goes one way: leaves know nothing, nothing imports upwards."""
    below = {other for other, floor in FLOOR_OF.items() if floor < FLOOR_OF[room]}
    strays = {
        (module, name)
        for module, imported in IMPORTS.items()
        if room_of(module) == room
        for name, _ in imported
        if name.startswith(f"{PACKAGE}.") and room_of(name) not in {room, *below}
    }

    assert strays == set()


@pytest.mark.parametrize(("room", "door"), SHUT.items(), ids=SHUT)
def test_shut_door_stays_shut(room: str, door: tuple[str, str]) -> None:
    """Some rooms on lower floors are none of a room's business."""
    shut, why = door
    strays = {
        (module, name)
        for module, imported in IMPORTS.items()
        if room_of(module) == room
        for name, _ in imported
        if room_of(name) == shut and name.startswith(f"{PACKAGE}.")
    }

    assert strays == set(), why


def test_prices_come_to_a_call_when_somebody_asks() -> None:
    """A call that nobody asks for its cost does not load the catalogue."""
    eager = {
        (module, name)
        for module, imported in IMPORTS.items()
        if room_of(module) in {"agent", "calls"}
        for name, at_once in imported
        if at_once and room_of(name) == "prices"
    }

    assert eager == set()


def test_modules_of_a_room_form_no_cycle() -> None:
    """Each module can be read after those that it imports."""
    waiting = {
        module: {name for name, _ in imported if name in MODULES and name != module}
        for module, imported in IMPORTS.items()
        if room_of(module) not in FACE and not MODULES[module].name.startswith("__init__")
    }
    while ready := {name for name, needs in waiting.items() if not needs & set(waiting)}:
        waiting = {name: needs for name, needs in waiting.items() if name not in ready}

    assert sorted(waiting) == []


def test_class_has_a_name_of_its_own() -> None:
    """A name that stands for two things in one package sends a reader to the wrong one."""
    places: dict[str, list[str]] = {}
    for module, tree in TREES.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef):
                places.setdefault(node.name, []).append(module)

    assert {name: where for name, where in places.items() if len(where) > 1} == {}


def test_modules_and_functions_are_short() -> None:
    """A module is read in one sitting, a function on one screen."""
    long = [
        module
        for module, path in MODULES.items()
        if len(path.read_text("utf-8").splitlines()) > LONGEST_MODULE
    ]
    for module, tree in TREES.items():
        long += [
            f"{module}.{node.name}"
            for node in ast.walk(tree)
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
            and (node.end_lineno or 0) - node.lineno >= LONGEST_FUNCTION
        ]

    assert long == []


def test_docstring_begins_with_a_verb_or_a_noun() -> None:
    """A relative clause as a subject is a riddle: say what it does, or what it is."""
    riddles = [
        (module, getattr(node, "name", ""), text.splitlines()[0])
        for module, tree in TREES.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
        if (text := ast.get_docstring(node)) and RIDDLES.match(text)
    ]

    assert riddles == []


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


def test_without_livekit_the_collector_says_what_it_needs() -> None:
    """In the words of the package, not of an import deep inside of it."""
    result = run("import sys; sys.modules['livekit'] = None; from livekit_exporter import attach")

    assert "livekit_exporter.attach needs livekit-agents 1.2.12 or newer" in result.stderr


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
