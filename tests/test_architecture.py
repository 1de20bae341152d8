"""The import rules: no native engine in the frontend, no imports between host and frontend, no cycles."""

import ast
import graphlib
import pathlib
import subprocess
import sys
from collections.abc import Collection, Iterator, Mapping

import pytest

from ipc import messages

ROOT = pathlib.Path(__file__).parent.parent
NATIVE = {
    "openvino",
    "openvino_genai",
    "openvino_tokenizers",
    "optimum",
    "torch",
    "numpy",
    "PIL",
    "soundfile",
}
FORBIDDEN = {
    "ipc": {"host", "frontend", "bench"},
    "host": {"frontend", "bench", "falcon", "uvicorn", "click"},
    "frontend": {"host", *NATIVE},
}


def imported_modules(path: pathlib.Path) -> set[str]:
    """Full names that a module imports anywhere, in functions too: modules, or names in them."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            assert node.level == 0, f"{path}: relative import"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def imported(path: pathlib.Path) -> set[str]:
    """Top-level names that a module imports anywhere, in functions too."""
    return {name.partition(".")[0] for name in imported_modules(path)}


@pytest.mark.parametrize("package", sorted(FORBIDDEN))
def test_no_module_imports_what_its_package_must_not(package):
    modules = list((ROOT / package).rglob("*.py"))
    assert modules
    wrong = {str(p.relative_to(ROOT)): bad for p in modules if (bad := imported(p) & FORBIDDEN[package])}
    assert not wrong


@pytest.mark.parametrize(
    ("package", "allowed"),
    [
        ("structured", ("frontend.structured.",)),
        ("parsing", ("frontend.parsing.", "frontend.structured.")),
    ],
)
def test_grammars_and_parsers_know_nothing_of_http(package, allowed):
    modules = list((ROOT / "frontend" / package).rglob("*.py"))
    assert modules
    names = {f"{name}." for path in modules for name in imported_modules(path)}
    ours = {name for name in names if name.startswith(("frontend.", "ipc."))}
    assert not {name for name in ours if not name.startswith(allowed)}


CORE = [
    *sorted((ROOT / "frontend/routing").glob("*.py")),
    ROOT / "host/loop.py",
    ROOT / "host/faults.py",
]


@pytest.mark.parametrize("path", CORE, ids=lambda path: str(path.relative_to(ROOT)))
def test_the_core_knows_no_task(path):
    of_tasks = {
        name
        for task in messages.TASKS
        for kind in (*task.work, *task.replies, task.options, task.card)
        for name in (kind.__name__, kind.__module__)
    }
    names = imported_modules(path)
    assert not {name for name in names if name.startswith(("frontend.tasks", "frontend.api"))}
    assert not {name for name in names if name.startswith("ipc.messages.") and name.split(".")[2] in of_tasks}
    assert not {name for name in names if name in of_tasks or name.rpartition(".")[0] in of_tasks}


def test_the_whole_frontend_loads_no_native_engine():
    modules = [
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        for path in (ROOT / "frontend").rglob("*.py")
    ]
    code = f"import sys, importlib\nfor m in {modules!r}: importlib.import_module(m)\nprint(*sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    loaded = {name.partition(".")[0] for name in run.stdout.split()}
    assert "falcon" in loaded  # or the check below looked at nothing
    assert not loaded & (NATIVE | {"host"})


def test_libraries_of_rare_features_are_loaded_with_their_first_use():
    code = "import sys, frontend.app, frontend.api.chat, frontend.api.responses.resource; print(*sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    loaded = {name.partition(".")[0] for name in run.stdout.split()}
    assert "falcon" in loaded  # or the check below looked at nothing
    for package, user in {"aiohttp": "media/fetch.py", "opentelemetry": "observability/otel.py"}.items():
        assert package in imported(ROOT / "frontend" / user)
        assert package not in loaded


@pytest.mark.parametrize("package", ["ipc", "host", "frontend", "bench"])
def test_nothing_pickles(package):
    assert not any("pickle" in imported(path) for path in (ROOT / package).rglob("*.py"))


@pytest.mark.parametrize("package", ["ipc", "host", "frontend", "bench"])
def test_every_module_says_what_it_is_for(package):
    silent = [p for p in (ROOT / package).rglob("*.py") if not ast.get_docstring(ast.parse(p.read_text()))]
    assert not silent


# --- cycles -------------------------------------------------------------------------------------------------


def module_name(path: pathlib.Path, root: pathlib.Path) -> str:
    return ".".join(path.relative_to(root).with_suffix("").parts).removesuffix(".__init__")


def imports_of(source: str, modules: Collection[str]) -> Iterator[str]:
    """The `modules` that a source imports by name: at its top, in functions, and for type checkers only.

    `from package import module` imports the module. That importing a module also runs the `__init__` of its
    packages is not counted, because they could import nothing otherwise.
    """
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in modules)
        elif isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                name = f"{node.module}.{alias.name}"
                if name in modules:
                    yield name
                elif node.module in modules:
                    yield node.module


def import_graph(root: pathlib.Path, packages: Collection[str]) -> dict[str, set[str]]:
    """Module → the modules that it imports, over all `packages` under `root`."""
    sources = {
        module_name(path, root): path.read_text()
        for package in packages
        for path in (root / package).rglob("*.py")
    }
    return {name: set(imports_of(source, sources)) for name, source in sources.items()}


def find_cycle(graph: Mapping[str, Collection[str]]) -> list[str]:
    """The modules of one cycle, the first one repeated at the end; empty if there is none."""
    try:
        graphlib.TopologicalSorter(graph).prepare()
    except graphlib.CycleError as error:
        cycle: list[str] = error.args[1]
        return cycle[::-1]  # each imports the next
    return []


# Imports that close a cycle and may stay: (module, what it imports) → why.
KNOWN_CYCLES: dict[tuple[str, str], str] = {}


def test_no_import_cycle_in_the_product():
    graph = import_graph(ROOT, ["frontend", "host", "ipc"])
    assert "frontend.config" in graph["frontend.app"]  # or the checks below looked at nothing
    for module, imported_module in KNOWN_CYCLES:
        graph[module].remove(imported_module)  # a KeyError: the import has gone, so should its entry
    assert " → ".join(find_cycle(graph)) == ""
    for module, imported_module in KNOWN_CYCLES:
        closed = find_cycle({**graph, module: {*graph[module], imported_module}})
        assert closed, f"{module} → {imported_module} closes no cycle any more: remove its entry"


@pytest.mark.parametrize(
    ("sources", "cycle"),
    [
        ({"a": "import p.b", "b": "import p.c", "c": ""}, set()),
        ({"a": "import p.b", "b": "from p.c import x", "c": "from p import a"}, {"p.a", "p.b", "p.c"}),
        ({"a": "def f():\n    from p.b import x", "b": "from p.a import y"}, {"p.a", "p.b"}),
        ({"a": "if TYPE_CHECKING:\n    import p.b", "b": "import p.a"}, {"p.a", "p.b"}),
        ({"__init__": "from p.a import x", "a": "from p.b import y", "b": "import q, os"}, set()),
        (
            {"__init__": "from p.a import x", "a": "from p import b", "b": "from p import x"},
            {"p", "p.a", "p.b"},
        ),
    ],
    ids=["none", "module level", "function level", "for types", "packages", "by way of a package"],
)
def test_cycles_of_every_kind_are_found(tmp_path, sources, cycle):
    (tmp_path / "p").mkdir()
    for name, source in sources.items():
        (tmp_path / "p" / f"{name}.py").write_text(source)
    assert set(find_cycle(import_graph(tmp_path, ["p"]))) == cycle
