"""Which part of TensorRT's API a source file touches, read from its syntax tree.

A name is followed where its class is known: a parameter or variable annotated ``trt.X``, an
attribute of ``self`` assigned from one, or ``sdk``, the module. So the list cannot go stale.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_MODULES = {"sdk", "self._sdk"}


@dataclass(frozen=True, order=True)
class Use:
    """One touch: ``path`` from the module down, and how many arguments a call gives it."""

    path: str
    arguments: int | None = None
    keywords: tuple[str, ...] = ()
    assigned: bool = False
    optional: bool = False


def uses(source: Path) -> set[Use]:
    """Every use of the API in a file."""
    tree = ast.parse(source.read_text())
    found: set[Use] = set()
    for scope in _scopes(tree):
        found |= set(_uses_in(scope, _classes(scope)))
    return found


def _scopes(tree: ast.Module) -> Iterator[ast.AST]:
    """Functions of the module, and whole classes, whose methods share ``self``."""
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            yield node


def _classes(scope: ast.AST) -> dict[str, str]:
    """TensorRT class by dotted name."""
    known: dict[str, str] = {}
    for node in ast.walk(scope):
        if isinstance(node, ast.arg) and (name := _class_of(node.annotation)):
            known[node.arg] = name
        if isinstance(node, ast.AnnAssign) and (name := _class_of(node.annotation)):
            known[ast.unparse(node.target)] = name
    for node in ast.walk(scope):
        if isinstance(node, ast.Assign) and ast.unparse(node.value) in known:
            known[ast.unparse(node.targets[0])] = known[ast.unparse(node.value)]
    return known


def _class_of(annotation: ast.expr | None) -> str | None:
    text = ast.unparse(annotation) if annotation is not None else ""
    return text.removeprefix("trt.") if text.startswith("trt.") else None


def _uses_in(scope: ast.AST, known: dict[str, str]) -> Iterator[Use]:
    called = {id(n.func): n for n in ast.walk(scope) if isinstance(n, ast.Call)}
    for node in ast.walk(scope):
        if isinstance(node, ast.Call) and (use := _optional(node, known)):
            yield use
        if not isinstance(node, ast.Attribute) or not (path := _path(node, known)):
            continue
        call = called.get(id(node))
        yield Use(
            path=path,
            arguments=len(call.args) if call else None,
            keywords=tuple(k.arg for k in call.keywords if k.arg) if call else (),
            assigned=isinstance(node.ctx, ast.Store),
        )


def _optional(node: ast.Call, known: dict[str, str]) -> Use | None:
    """``getattr(sdk.X, "NAME", None)``, or of an object: something that not every version has."""
    if ast.unparse(node.func) != "getattr" or len(node.args) != 3:
        return None
    owner, name = _path(node.args[0], known) or known.get(ast.unparse(node.args[0])), node.args[1]
    if not owner or not isinstance(name, ast.Constant):
        return None
    return Use(path=f"{owner}.{name.value!s}", optional=True)


def _path(node: ast.expr, known: dict[str, str]) -> str | None:
    """The path of an attribute chain whose root is the module or an object of a known class."""
    text = ast.unparse(node)
    for root in _MODULES:
        if (
            text.startswith(f"{root}.")
            and text.removeprefix(f"{root}.").replace(".", "").isidentifier()
        ):
            return text.removeprefix(f"{root}.")
    owner, _, attribute = text.rpartition(".")
    if owner in known and attribute.isidentifier():
        return f"{known[owner]}.{attribute}"
    return None
