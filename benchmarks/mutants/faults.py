"""Small faults that a module offers: a sign, a boundary, an axis, a missing step; each one piece of text for another.

Left alone are annotations, docstrings, texts (an f-string, what ``raise`` and ``warn`` say), imports and ``__all__``:
a fault there publishes no wrong number.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

_COMPARISONS: dict[type[ast.cmpop], tuple[type[ast.cmpop], ...]] = {
    ast.Lt: (ast.LtE, ast.GtE),
    ast.LtE: (ast.Lt, ast.Gt),
    ast.Gt: (ast.GtE, ast.LtE),
    ast.GtE: (ast.Gt, ast.Lt),
    ast.Eq: (ast.NotEq,),
    ast.NotEq: (ast.Eq,),
    ast.In: (ast.NotIn,),
    ast.NotIn: (ast.In,),
    ast.Is: (ast.IsNot,),
    ast.IsNot: (ast.Is,),
}
_OPERATORS: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.Mod: ast.Mult,
    ast.Pow: ast.Mult,
    ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd,
}
_SIBLINGS = {
    name: other
    for a, b in (
        ("min", "max"), ("nanmin", "nanmax"), ("argmin", "argmax"), ("nanargmin", "nanargmax"), ("minimum", "maximum"),
        ("any", "all"), ("mean", "median"), ("nanmean", "nanmedian"), ("floor", "ceil"), ("startswith", "endswith"),
        ("first", "last"), ("cummax", "cummin"), ("std", "var"), ("union", "intersection"), ("sin", "cos"),
        ("isin", "isna"), ("ffill", "bfill"), ("rstrip", "lstrip"), ("append", "insert"),
    )
    for name, other in ((a, b), (b, a))
}  # fmt: skip
_FIRST_ARGUMENT_INSTEAD = {
    "abs", "absolute", "sqrt", "exp", "log", "log1p", "expm1", "sorted", "sort", "unique", "cumsum", "diff", "flip",
    "round", "rint", "reversed", "nan_to_num", "ascontiguousarray", "maximum", "minimum", "clip", "unit",
}  # fmt: skip
_OBJECT_INSTEAD = {
    "dropna", "drop_duplicates", "sort_values", "sort_index", "reset_index", "strip", "lower", "upper", "copy",
    "fillna", "resolve", "astype", "clip", "normalize", "casefold",
}  # fmt: skip
_NO_NUMBER = ("strict", "description")  # of zip; of a setting
_TALK = {"warn", "warning", "info", "debug", "error", "exception", "echo", "print", "UserMistake"}
_AXES = {0: 1, 1: 0, -1: 0, 2: 1, -2: -1}


@dataclass(frozen=True)
class Fault:
    """One piece of a module's text and what stands in its place.

    Attributes:
        module: path in the repository.
        line: first line of the piece, from 1.
        start: offset of the piece in the module's bytes.
        end: where it ends.
        old: the piece.
        new: what stands there instead.
        kind: name of the operator.
    """

    module: str
    line: int
    start: int
    end: int
    old: str
    new: str
    kind: str

    @property
    def name(self) -> str:
        """Place, kind and what is changed, in one line."""
        return f"{self.module}:{self.line} {self.kind}: {_short(self.old)} -> {_short(self.new)}"

    def put_into(self, source: bytes) -> bytes:
        """``source`` of the module with the fault."""
        return source[: self.start] + self.new.encode() + source[self.end :]

    def is_code(self, source: bytes) -> bool:
        """Whether the module with the fault is Python and another program than without."""
        try:
            return ast.dump(ast.parse(self.put_into(source))) != ast.dump(ast.parse(source))
        except SyntaxError:
            return False


def _short(text: str) -> str:
    return " ".join(text.split())[:90]


def faults_of(path: Path, module: str) -> list[Fault]:
    """Every fault that the module at ``path`` offers, in the order of its text."""
    source = path.read_bytes()
    starts = [0]
    for line in source.splitlines(keepends=True):
        starts.append(starts[-1] + len(line))
    found = []
    for node, new, kind in _of_tree(ast.parse(source)):
        start = starts[node.lineno - 1] + node.col_offset
        end = starts[(node.end_lineno or node.lineno) - 1] + (node.end_col_offset or 0)
        found.append(Fault(module, node.lineno, start, end, source[start:end].decode(), new, kind))
    return sorted(set(found), key=lambda fault: (fault.start, fault.end, fault.new))


Piece = ast.expr | ast.stmt
Found = Iterator[tuple[Piece, str, str]]


def _of_tree(tree: ast.AST) -> Found:
    for node in _looked_at(tree):
        for rule in _RULES:
            yield from rule(node)


def _looked_at(node: ast.AST) -> Iterator[ast.AST]:
    """Nodes whose value is more than a text or a type."""
    for name, child in ast.iter_fields(node):
        if name in ("annotation", "returns", "decorator_list", "type_comment", "bases"):
            continue
        for one in child if isinstance(child, list) else [child]:
            if isinstance(one, ast.AST) and not _is_talk(one):
                yield one
                yield from _looked_at(one)


def _is_talk(node: ast.AST) -> bool:
    if isinstance(node, ast.keyword) and node.arg in _NO_NUMBER:
        return True
    if isinstance(node, ast.Raise | ast.JoinedStr | ast.Import | ast.ImportFrom | ast.Assert):
        return True
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
        return True
    if isinstance(node, ast.Assign) and any(isinstance(t, ast.Name) and t.id == "__all__" for t in node.targets):
        return True
    if isinstance(node, ast.Assign | ast.AnnAssign) and isinstance(node.value, ast.Subscript):
        return isinstance(node.value.value, ast.Name) and node.value.value.id == "Literal"
    if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
        return True
    return isinstance(node, ast.Call) and _name(node) in _TALK


def _name(call: ast.Call) -> str:
    """Last part of what is called."""
    if isinstance(call.func, ast.Attribute):
        return call.func.attr
    return call.func.id if isinstance(call.func, ast.Name) else ""


# the operators


def _comparison(node: ast.AST) -> Found:
    if not isinstance(node, ast.Compare):
        return
    for i, operator in enumerate(node.ops):
        for other in _COMPARISONS.get(type(operator), ()):
            operators = [*node.ops[:i], other(), *node.ops[i + 1 :]]
            yield node, _text(ast.Compare(node.left, operators, node.comparators)), "comparison"


def _arithmetic(node: ast.AST) -> Found:
    if isinstance(node, ast.BinOp) and type(node.op) in _OPERATORS and not _is_type_union(node):
        other = _OPERATORS[type(node.op)]()
        yield node, _text(ast.BinOp(node.left, other, node.right)), "arithmetic"
        if isinstance(node.op, ast.BitAnd | ast.BitOr | ast.Add | ast.Sub):
            yield node, _text(node.left), "operand dropped"
    if isinstance(node, ast.AugAssign) and type(node.op) in _OPERATORS:
        yield node, _text(ast.AugAssign(node.target, _OPERATORS[type(node.op)](), node.value)), "arithmetic"


def _is_type_union(node: ast.BinOp) -> bool:
    return isinstance(node.op, ast.BitOr) and all(
        side.id[0].isupper() if isinstance(side, ast.Name) else isinstance(side, ast.Constant) and side.value is None
        for side in (node.left, node.right)
    )


def _boolean(node: ast.AST) -> Found:
    if isinstance(node, ast.BoolOp):
        other: ast.boolop = ast.Or() if isinstance(node.op, ast.And) else ast.And()
        yield node, _text(ast.BoolOp(other, node.values)), "and, or"
        for i in range(len(node.values)):
            rest = node.values[:i] + node.values[i + 1 :]
            yield node, _text(rest[0] if len(rest) == 1 else ast.BoolOp(node.op, rest)), "condition dropped"
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not | ast.USub | ast.Invert):
        yield node, _text(node.operand), "sign"


def _constant(node: ast.AST) -> Found:
    if not isinstance(node, ast.Constant):
        return
    value = node.value
    if isinstance(value, bool):
        yield node, str(not value), "constant"
    elif isinstance(value, int):
        yield node, str(value + 1), "constant"
    elif isinstance(value, float):
        yield node, repr(value * 1.5 if value else 1.0), "constant"


def _call(node: ast.AST) -> Found:
    if not isinstance(node, ast.Call):
        return
    name = _name(node)
    if name in _SIBLINGS:
        yield node, _text(ast.Call(_renamed(node.func, _SIBLINGS[name]), node.args, node.keywords)), "sibling function"
    if name in _FIRST_ARGUMENT_INSTEAD and node.args:
        yield node, _text(node.args[0]), "function dropped"
    if name in _OBJECT_INSTEAD and isinstance(node.func, ast.Attribute):
        yield node, _text(node.func.value), "method dropped"
    if len(node.args) >= 2 and all(isinstance(a, ast.Name | ast.Attribute | ast.Subscript) for a in node.args[:2]):
        swapped = [node.args[1], node.args[0], *node.args[2:]]
        yield node, _text(ast.Call(node.func, swapped, node.keywords)), "arguments swapped"
    for i, keyword in enumerate(node.keywords):
        yield from _keyword(node, i, keyword)


def _keyword(node: ast.Call, i: int, keyword: ast.keyword) -> Found:
    rest = node.keywords[:i] + node.keywords[i + 1 :]
    if keyword.arg == "axis" and isinstance(keyword.value, ast.Constant | ast.UnaryOp):
        axis = ast.literal_eval(keyword.value)
        if axis in _AXES:
            other = ast.keyword("axis", ast.Constant(_AXES[axis]))
            yield node, _text(ast.Call(node.func, node.args, [*rest, other])), "axis"
    elif keyword.arg not in (None, *_NO_NUMBER):
        yield node, _text(ast.Call(node.func, node.args, rest)), "argument dropped"


def _renamed(function: ast.expr, name: str) -> ast.expr:
    if isinstance(function, ast.Attribute):
        return ast.Attribute(function.value, name, ast.Load())
    return ast.Name(name, ast.Load())


def _choice(node: ast.AST) -> Found:
    if isinstance(node, ast.IfExp):
        yield node, _text(node.body), "condition dropped"
        yield node, _text(node.orelse), "condition dropped"
    if isinstance(node, ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp):
        for generator in node.generators:
            for test in generator.ifs:
                yield test, "True", "filter dropped"
    if isinstance(node, ast.If):
        yield node.test, "False", "branch never taken"
        yield node.test, "True", "branch always taken"


def _statement(node: ast.AST) -> Found:
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
        yield node, "pass", "statement dropped"
    if isinstance(node, ast.AugAssign):
        yield node, "pass", "statement dropped"
    if isinstance(node, ast.Assign) and len(node.targets) == 1 and _is_made_from_itself(node):
        yield node, "pass", "statement dropped"
    if isinstance(node, ast.Continue):
        yield node, "break", "loop ended"


def _is_made_from_itself(node: ast.Assign) -> bool:
    target = node.targets[0]
    names = {one.id for one in ast.walk(node.value) if isinstance(one, ast.Name)}
    return isinstance(target, ast.Subscript) or (isinstance(target, ast.Name) and target.id in names)


def _element(node: ast.AST) -> Found:
    if isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Slice) and isinstance(node.ctx, ast.Load):
        yield node, _text(node.value), "slice dropped"
    if isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Tuple):
        axes = node.slice.elts
        if len(axes) == 2 and all(isinstance(one, ast.Name) for one in axes):
            swapped = ast.Tuple(axes[::-1], ast.Load())
            yield node, _text(ast.Subscript(node.value, swapped, ast.Load())), "axes swapped"


_RULES: tuple[Callable[[ast.AST], Found], ...] = (
    _comparison,
    _arithmetic,
    _boolean,
    _constant,
    _call,
    _choice,
    _statement,
    _element,
)


def _text(node: ast.AST) -> str:
    """Code of ``node``, in brackets where its place may need them."""
    text = ast.unparse(ast.fix_missing_locations(node))
    is_safe = isinstance(node, ast.stmt | ast.Call | ast.Name | ast.Attribute | ast.Subscript | ast.Constant)
    return text if is_safe else f"({text})"
