"""The import rules: the frontend loads no native engine, host and frontend do not know each other."""

import ast
import pathlib
import subprocess
import sys

import pytest

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


@pytest.mark.parametrize("package", ["ipc", "host", "frontend", "bench"])
def test_nothing_pickles(package):
    assert not any("pickle" in imported(path) for path in (ROOT / package).rglob("*.py"))


@pytest.mark.parametrize("package", ["ipc", "host", "frontend", "bench"])
def test_every_module_says_what_it_is_for(package):
    silent = [p for p in (ROOT / package).rglob("*.py") if not ast.get_docstring(ast.parse(p.read_text()))]
    assert not silent
