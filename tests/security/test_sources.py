"""No code of ours runs what it read: the syntax trees of the whole tree are searched for what could."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
PACKAGES = ("balrsam_pipeline", "planners", "trainers", "evaluation")
FILES = sorted(path for name in (*PACKAGES, "benchmarks") for path in (REPOSITORY / name).rglob("*.py"))
MODULES = {
    "pickle",
    "cPickle",
    "_pickle",
    "dill",
    "cloudpickle",
    "marshal",
    "shelve",
    "joblib",
    "pty",
    "commands",
}
# pictures of the command line are taken of what a terminal shows; benchmarks are not installed
ALLOWED = {
    "benchmarks/docs/screen.py": "import of pty",
    # copies of what the same process made, so that nothing in them is shared
    "benchmarks/scaling/known_cases.py": "import of pickle",
}
CALLS = {
    "eval",
    "exec",
    "compile",
    "__import__",
    "os.system",
    "os.popen",
    "os.execv",
    "os.execl",
    "os.spawnl",
    "subprocess.getoutput",
    "subprocess.getstatusoutput",
    "pandas.read_pickle",
    "pd.read_pickle",
    "yaml.load",
    "tempfile.mktemp",
}


def test_the_search_finds_what_it_looks_for() -> None:
    bad = (
        "import pickle",
        "from marshal import loads",
        "eval('1')",
        "os.system('x')",
        "run('x', shell=True)",
        "torch.load(p)",
        "np.load(p, allow_pickle=True)",
        "torch.load(p, weights_only=False)",
        "extractall('x')",
    )
    assert [line for line in bad if not list(findings(ast.parse(line)))] == []
    good = ("model.eval()", "re.compile('x')", "torch.load(p, weights_only=True)", "run(['x'])", "np.load(p)")
    assert [line for line in good if list(findings(ast.parse(line)))] == []


@pytest.mark.parametrize("package", (*PACKAGES, "benchmarks"))
def test_nothing_that_was_read_is_run(package: str) -> None:
    found = [
        f"{path.relative_to(REPOSITORY)}:{line}: {what}"
        for path in FILES
        if path.is_relative_to(REPOSITORY / package)
        for line, what in findings(ast.parse(path.read_text()))
        if ALLOWED.get(path.relative_to(REPOSITORY).as_posix()) != what
    ]
    assert found == []


def findings(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """(line, what) of everything that could run code from data, or a shell."""
    for node in ast.walk(tree):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        for name in names:
            if name.split(".")[0] in MODULES:
                yield getattr(node, "lineno", 0), f"import of {name}"
        if isinstance(node, ast.Call):
            yield from ((node.lineno, what) for what in _call(node))


def _call(node: ast.Call) -> Iterator[str]:
    name = ast.unparse(node.func)
    given = {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords}
    if name in CALLS or name.endswith(("extractall", "read_pickle")):
        yield name
    if given.get("shell", "False") != "False":
        yield f"{name} with a shell"
    if given.get("allow_pickle", "False") != "False":
        yield f"{name} with allow_pickle"
    if name == "torch.load" and given.get("weights_only") != "True":
        yield "torch.load without weights_only=True"
