"""The operators: the small changes that are made to code, one at a time, to see whether a test notices.

Two libraries were judged first. mutmut 3.8 changes only what stands in functions, in a copy of the tree that
knows no linked packages. cosmic-ray 8.7 rewrites the files that you work on, and starts a process of tests for
each change. Neither draws a sample by a seed. So this is a list of our own: each operator replaces a piece of
source text that an ast node spans, and nothing else of the file changes.

Left out by rule, because no test of behaviour can or should notice it:

- annotations, docstrings, ``if TYPE_CHECKING`` and ``__all__``;
- calls of ``_log``, and what stands inside a ``raise``: these are words for people;
- strings, for the same reason; what chooses between two of them is changed;
- numbers above 2, and fractions: they are figures that somebody chose, and a test could only repeat them;
- ``strict=`` of ``zip``, what ``field`` says beside a default, and the arguments of decorators: they guard
  against wrong code, not wrong input;
- bodies of protocols, which nobody runs;
- the assignments of ``__init__``: every use would fail, so that they would only flatter the figure.
"""

from __future__ import annotations

import ast
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_NEGATED: dict[type[ast.cmpop], str] = {
    ast.Eq: "!=",
    ast.NotEq: "==",
    ast.Lt: ">=",
    ast.LtE: ">",
    ast.Gt: "<=",
    ast.GtE: "<",
    ast.Is: "is not",
    ast.IsNot: "is",
    ast.In: "not in",
    ast.NotIn: "in",
}
_AT_THE_BOUNDARY: dict[type[ast.cmpop], str] = {ast.Lt: "<=", ast.LtE: "<", ast.Gt: ">=", ast.GtE: ">"}
_OTHER_WAY: dict[type[ast.operator], str] = {
    ast.Add: "-",
    ast.Sub: "+",
    ast.Mult: "/",
    ast.Div: "*",
    ast.FloorDiv: "*",
    ast.BitOr: "&",
    ast.BitAnd: "|",
}
_OTHER_CALL = {"min": "max", "max": "min", "any": "all", "all": "any"}
_GREATEST_NUMBER = 2
_GUARDS = {"zip": {"strict"}, "field": {"compare", "hash", "init", "kw_only", "repr"}}


@dataclass(frozen=True, slots=True)
class Change:
    """One piece of source text, and what stands there instead."""

    place: str
    """Qualified name of the function or class; empty in the module itself."""
    operator: str
    start: int
    """In bytes, as all of ast."""
    end: int
    instead: str
    first_line: int
    last_line: int
    """What runs these lines may notice the change."""
    at_import: bool
    """True if it runs when the module is imported, so that lines run by a test say nothing of it."""

    def applied(self, source: str) -> str:
        """The changed source."""
        whole = source.encode()
        return (whole[: self.start] + self.instead.encode() + whole[self.end :]).decode()

    def before(self, source: str) -> str:
        """The text that is replaced."""
        return source.encode()[self.start : self.end].decode()


def changes(source: str) -> list[Change]:
    """Every change that the operators make to one module, in the order of the text."""
    tree = ast.parse(source)
    finder = _Finder(source)
    finder.visit(tree)
    return sorted(
        finder.found, key=lambda change: (change.start, change.end, change.operator, change.instead)
    )


class _Finder(ast.NodeVisitor):
    """Walks over a module and notes the changes."""

    def __init__(self, source: str) -> None:
        self.found: list[Change] = []
        self._source = source.encode()
        self._starts = [0]
        for line in self._source.splitlines(keepends=True):
            self._starts.append(self._starts[-1] + len(line))
        self._place: list[str] = []
        self._in_function = 0
        self._statement: ast.stmt | None = None

    def visit(self, node: ast.AST) -> None:
        """Note what the operators make of one node, then go on inside it."""
        outer = self._statement
        if isinstance(node, ast.stmt):
            self._statement = node
        if not _left_out(node):
            for operator, at, instead in self._edits(node):
                self._note(operator, at, instead)
            super().visit(node)
        self._statement = outer

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        """Defaults run at import; annotations and decorators are left out."""
        self._function(node)

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> None:
        """The same."""
        self._function(node)

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        """Bases, keywords and decorators are left out."""
        if not any(isinstance(base, ast.Name) and base.id == "Protocol" for base in node.bases):
            self._within(node.name, node.body)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        """Without the annotation."""
        if node.value is not None:
            self.visit(node.value)

    def visit_JoinedStr(self, node: ast.JoinedStr) -> None:
        """Words for people; and before Python 3.12 its parts do not say where they stand."""

    def visit_Raise(self, node: ast.Raise) -> None:
        """Words for people."""

    def visit_Call(self, node: ast.Call) -> None:
        """Without what guards against wrong code."""
        self.visit(node.func)
        for argument in node.args:
            self.visit(argument)
        guards = _GUARDS.get(node.func.id, set()) if isinstance(node.func, ast.Name) else set()
        for keyword in node.keywords:
            if keyword.arg not in guards:
                self.visit(keyword.value)

    def _function(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        for default in [*node.args.defaults, *filter(None, node.args.kw_defaults)]:
            self.visit(default)
        self._in_function += 1
        self._within(node.name, node.body)
        self._in_function -= 1

    def _within(self, name: str, body: list[ast.stmt]) -> None:
        self._place.append(name)
        for statement in body:
            self.visit(statement)
        self._place.pop()

    def _edits(self, node: ast.AST) -> Iterator[tuple[str, ast.AST, str]]:
        if isinstance(node, ast.expr):
            yield from self._edits_of_expression(node)
        elif isinstance(node, ast.stmt):
            yield from self._edits_of_statement(node)
        elif isinstance(node, ast.comprehension):
            for condition in node.ifs:
                yield from self._negated(condition)
        elif isinstance(node, ast.ExceptHandler) and not isinstance(node.body[0], ast.Raise):
            yield "raised on", node.body[0], "raise"

    def _edits_of_expression(self, node: ast.expr) -> Iterator[tuple[str, ast.AST, str]]:
        text = self._text
        if isinstance(node, ast.Compare | ast.BoolOp):
            yield from self._edits_of_condition(node)
        elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
            yield "removed not", node, f"bool({text(node.operand)})"
        elif isinstance(node, ast.IfExp):
            yield from self._negated(node.test)
        elif isinstance(node, ast.BinOp) and type(node.op) in _OTHER_WAY:
            other = _OTHER_WAY[type(node.op)]
            yield "other arithmetic", node, f"({text(node.left)} {other} {text(node.right)})"
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in _OTHER_CALL:
            yield "other call", node.func, _OTHER_CALL[node.func.id]
        elif isinstance(node, ast.Constant) and isinstance(node.value, bool):
            yield "other truth", node, str(not node.value)
        elif isinstance(node, ast.Constant) and _is_small_number(node.value):
            yield "one more", node, f"({self._text(node)} + 1)"

    def _edits_of_condition(self, node: ast.Compare | ast.BoolOp) -> Iterator[tuple[str, ast.AST, str]]:
        text = self._text
        if isinstance(node, ast.BoolOp):
            word, other = ("and", "or") if isinstance(node.op, ast.And) else ("or", "and")
            values = [f"({text(value)})" for value in node.values]
            yield "and for or", node, f"({f' {other} '.join(values)})"
            for number in range(len(values)):
                kept = values[:number] + values[number + 1 :]
                yield "left out condition", node, f"({f' {word} '.join(kept)})"
        elif len(node.ops) == 1:
            left, kind, right = text(node.left), type(node.ops[0]), text(node.comparators[0])
            yield "negated comparison", node, f"{left} {_NEGATED[kind]} {right}"
            if kind in _AT_THE_BOUNDARY:
                yield "moved boundary", node, f"{left} {_AT_THE_BOUNDARY[kind]} {right}"

    def _edits_of_statement(self, node: ast.stmt) -> Iterator[tuple[str, ast.AST, str]]:
        if isinstance(node, ast.If | ast.While):
            yield from self._negated(node.test)
        elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Call | ast.Await | ast.Yield):
            yield "removed statement", node, "pass"
        elif isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Attribute | ast.Subscript):
            if self._place[-1:] != ["__init__"]:
                yield "removed statement", node, "pass"
        elif isinstance(node, ast.AugAssign | ast.Delete):
            yield "removed statement", node, "pass"
        elif isinstance(node, ast.Raise):
            yield "removed raise", node, "pass"
        elif isinstance(node, ast.Continue):
            yield "break for continue", node, "break"
        elif isinstance(node, ast.Break):
            yield "continue for break", node, "continue"
        elif (
            isinstance(node, ast.Return)
            and not isinstance(node.value, ast.Constant | None)
            and self._in_function
        ):
            yield "returned nothing", node, "return None"

    def _negated(self, test: ast.expr) -> Iterator[tuple[str, ast.AST, str]]:
        """A condition the other way round, where no other operator does the same."""
        if not isinstance(test, ast.Compare | ast.BoolOp | ast.Constant) and not (
            isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not)
        ):
            yield "negated condition", test, f"(not ({self._text(test)}))"

    def _note(self, operator: str, node: ast.AST, instead: str) -> None:
        start, end = self._span(node)
        statement = self._statement
        first = statement.lineno if statement is not None else node.lineno  # type: ignore[attr-defined]
        self.found.append(
            Change(
                ".".join(self._place),
                operator,
                start,
                end,
                instead,
                first,
                max(first, node.end_lineno or first),  # type: ignore[attr-defined]
                at_import=not self._in_function,
            )
        )

    def _span(self, node: ast.AST) -> tuple[int, int]:
        start = self._starts[node.lineno - 1] + node.col_offset  # type: ignore[attr-defined]
        return start, self._starts[node.end_lineno - 1] + node.end_col_offset  # type: ignore[attr-defined]

    def _text(self, node: ast.AST) -> str:
        start, end = self._span(node)
        return self._source[start:end].decode()


def _is_small_number(value: object) -> bool:
    return isinstance(value, int | float) and value <= _GREATEST_NUMBER and value == int(value)


def _left_out(node: ast.AST) -> bool:
    if isinstance(node, ast.If):
        return isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"
    if isinstance(node, ast.Assign):
        return any(isinstance(target, ast.Name) and target.id == "__all__" for target in node.targets)
    call = node.value if isinstance(node, ast.Expr) else None
    return (
        isinstance(call, ast.Call)
        and isinstance(call.func, ast.Attribute)
        and isinstance(call.func.value, ast.Name)
        and call.func.value.id == "_log"
    )
