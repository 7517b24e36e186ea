"""No module of the product imports itself by way of others, wherever the import stands in the file."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("balrsam_pipeline", "planners", "trainers", "evaluation")


def modules(root: Path) -> dict[str, Path]:
    """Dotted name -> file of every module of the product that is no `__init__`."""
    files = (path for package in PACKAGES for path in (root / package).rglob("*.py"))
    return {
        ".".join(path.relative_to(root).with_suffix("").parts): path
        for path in files
        if path.name != "__init__.py"
    }


def public_names(root: Path) -> dict[tuple[str, str], str]:
    """(package, public name) -> the module that the package's `__init__` takes it from."""
    found: dict[tuple[str, str], str] = {}
    for package in PACKAGES:
        for path in (root / package).rglob("__init__.py*"):
            name = ".".join(path.relative_to(root).parent.parts)
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.ImportFrom) and node.module:
                    module = f"{name}.{node.module}" if node.level else node.module
                    found |= {(name, alias.asname or alias.name): module for alias in node.names}
    return found


def imports_of(path: Path, public: dict[tuple[str, str], str]) -> Iterator[str]:
    """Every module that a file imports: at the top, in functions and for the type checker alone."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                yield public.get((node.module, alias.name), node.module)
                yield f"{node.module}.{alias.name}"


def import_graph(root: Path) -> dict[str, set[str]]:
    """Module -> the modules of the product that it imports."""
    known, public = modules(root), public_names(root)
    return {
        name: {found for found in imports_of(path, public) if found in known and found != name}
        for name, path in known.items()
    }


def circle(graph: dict[str, set[str]]) -> list[str]:
    """Modules that import each other in a circle, the first one named again at the end; empty where none
    do."""
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as problem:
        return list(problem.args[1])
    return []


def test_a_circle_is_found_by_its_members() -> None:
    assert set(circle({"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}})) == {"a", "b", "c"}


def test_the_public_names_of_a_package_stand_for_their_modules(tmp_path: Path) -> None:
    (tmp_path / "planners").mkdir()
    (tmp_path / "planners" / "__init__.py").write_text("from planners.one import thing\n")
    (tmp_path / "planners" / "one.py").write_text("def thing():\n    import planners.two\n")
    (tmp_path / "planners" / "two.py").write_text("from planners import thing\n")
    assert import_graph(tmp_path) == {"planners.one": {"planners.two"}, "planners.two": {"planners.one"}}


def test_no_module_of_the_product_is_in_an_import_circle() -> None:
    graph = import_graph(ROOT)
    assert len(graph) > 150
    assert circle(graph) == []
