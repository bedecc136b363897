"""The text of expressions: what stands in the source is kept as it stands, what is new is written around it."""

from __future__ import annotations

import ast

from bondhu.domains.coding.trees import Place, Tree

OPERATORS: dict[type[ast.AST], str] = {
    ast.Add: "+", ast.Sub: "-", ast.Mult: "*", ast.Div: "/", ast.FloorDiv: "//", ast.Mod: "%", ast.Pow: "**",
    ast.MatMult: "@", ast.LShift: "<<", ast.RShift: ">>", ast.BitAnd: "&", ast.BitOr: "|", ast.BitXor: "^",
    ast.Lt: "<", ast.LtE: "<=", ast.Gt: ">", ast.GtE: ">=", ast.Eq: "==", ast.NotEq: "!=", ast.In: "in",
    ast.NotIn: "not in", ast.Is: "is", ast.IsNot: "is not", ast.And: "and", ast.Or: "or",
    ast.USub: "-", ast.UAdd: "+", ast.Invert: "~", ast.Not: "not ",
}  # fmt: skip
# How tightly operators bind (The Python Language Reference, 6.17), loosest first.
OPEN, TEST, OR, AND, NOT, COMPARED, BITS, SUM, TERM, FACTOR, POWER, ATOM = 0, 1, 2, 3, 4, 5, 6, 10, 11, 12, 13, 15
BINARY: dict[type[ast.AST], int] = {
    ast.BitOr: BITS, ast.BitXor: 7, ast.BitAnd: 8, ast.LShift: 9, ast.RShift: 9, ast.Add: SUM, ast.Sub: SUM,
    ast.Mult: TERM, ast.Div: TERM, ast.FloorDiv: TERM, ast.Mod: TERM, ast.MatMult: TERM, ast.Pow: POWER,
}  # fmt: skip
LOOSE = {ast.NamedExpr: OPEN, ast.Tuple: OPEN, ast.Yield: OPEN, ast.YieldFrom: OPEN,
         ast.Lambda: TEST, ast.IfExp: TEST, ast.Compare: COMPARED, ast.Await: 14}  # fmt: skip
BRACKETED = (ast.List, ast.Dict, ast.Set, ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)
OPERATIONS = (ast.BinOp, ast.BoolOp, ast.UnaryOp, ast.Compare, ast.Attribute)  # brackets in them are an operand's
NEEDED = {
    "test": TEST, "body": OR, "orelse": TEST, "iter": OR, "ifs": OR, "func": ATOM, "elt": TEST, "key": TEST,
    "args": TEST, "elts": TEST, "keys": TEST, "values": TEST, "lower": TEST, "upper": TEST, "step": TEST, "msg": TEST,
    "left": BITS, "comparators": BITS, "defaults": TEST, "kw_defaults": TEST, "exc": TEST, "cause": TEST,
    "context_expr": TEST, "value": TEST,
}  # fmt: skip


def binding(node: ast.expr) -> int:
    """How tightly the outermost operator of an expression binds."""
    if isinstance(node, ast.BinOp):
        return BINARY[type(node.op)]
    if isinstance(node, ast.BoolOp):
        return OR if isinstance(node.op, ast.Or) else AND
    if isinstance(node, ast.UnaryOp):
        return NOT if isinstance(node.op, ast.Not) else FACTOR
    return LOOSE.get(type(node), ATOM)


def needed(parent: ast.AST, field: str) -> int:
    """How tightly an expression must bind to stand in a field of its parent without brackets."""
    match parent:
        case ast.BinOp(op=ast.Pow()):
            tightness = ATOM if field == "left" else FACTOR
        case ast.BinOp():
            tightness = BINARY[type(parent.op)] + (field == "right")
        case ast.BoolOp():
            tightness = AND if isinstance(parent.op, ast.Or) else NOT
        case ast.UnaryOp():
            tightness = NOT if isinstance(parent.op, ast.Not) else FACTOR
        case ast.Attribute() | ast.Subscript() | ast.Await() if field == "value":
            tightness = ATOM
        case ast.Return() | ast.Assign() | ast.AugAssign() | ast.Expr() | ast.AnnAssign() | ast.For() | ast.AsyncFor():
            tightness = OPEN
        case ast.Lambda():
            tightness = TEST
        case ast.IfExp() if field == "test":
            tightness = OR
        case _:
            tightness = BITS if isinstance(parent, ast.Starred) else NEEDED.get(field, OPEN)
    return tightness


class Renderer:
    """Writes expressions made of old and new nodes."""

    def __init__(self, tree: Tree) -> None:
        self.tree = tree
        self.quote = '"' if tree.source.replace('"""', "").count('"') > tree.source.count("'") else "'"

    def text(self, node: ast.expr, tightness: int = OPEN) -> str:
        """The expression, in brackets where it binds less tightly than it must."""
        old = self.tree.known(node)
        text = self.tree.text(node) if old else self._new(node)
        if isinstance(node, ast.Tuple):
            return text if self._enclosed(node, text) else f"({text})"
        loose = binding(node) < tightness or (old and "\n" in text and not isinstance(node, BRACKETED))
        if tightness == ATOM and isinstance(node, ast.Constant) and isinstance(node.value, (int, float, complex)):
            loose = loose or not isinstance(node.value, bool)  # 1.real is no expression
        return f"({text})" if loose else text

    def in_place(self, place: Place, node: ast.expr) -> tuple[int, int, str]:
        """Where the old expression stands in the text, and what stands there instead."""
        start, end = self.tree.span(place.node)
        source = self.tree.source
        bracketed = isinstance(place.parent, OPERATIONS) and source[start - 1 : start] + source[end : end + 1] == "()"
        text = self.text(node, OPEN if bracketed else needed(place.parent, place.field))
        if isinstance(node, ast.Tuple) and self._bare(place):
            text = text[1:-1] if not text.endswith(",)") else text
        if isinstance(place.node, ast.GeneratorExp) and isinstance(place.parent, ast.Call) and not text.startswith("("):
            call = source[self.tree.span(place.parent.func)[1] : start]
            text = text if "(" in call else f"({text})"  # the brackets of the call were its own
        before, after = source[start - 1 : start], source[end : end + 1]
        if text and (before.isalnum() or before == "_") and (text[0].isalnum() or text[0] in "_'\""):
            text = f" {text}"
        if text and (after.isalnum() or after == "_") and (text[-1].isalnum() or text[-1] == "_"):
            text = f"{text} "
        return start, end, text

    def _bare(self, place: Place) -> bool:
        """Whether a tuple stands there without brackets."""
        return isinstance(place.node, ast.Tuple) and not self._enclosed(place.node, self.tree.text(place.node))

    def _enclosed(self, node: ast.Tuple, text: str) -> bool:
        if not self.tree.known(node) or not node.elts:
            return True
        start = self.tree.span(node)[0]
        marks, last = [], start
        for each in node.elts:
            first, end = self.tree.span(each)
            marks.append(self.tree.source[last:first] + "_")
            last = end
        marks.append(self.tree.source[last : start + len(text)])
        depth = 0
        outline = "".join(marks)
        for at, mark in enumerate(outline):
            depth += (mark == "(") - (mark == ")")
            if depth == 0:
                return at == len(outline) - 1 and mark == ")"
        return False

    def _new(self, node: ast.expr) -> str:
        """An operation, or else a part of one."""
        match node:
            case ast.BinOp():
                left, right = self.text(node.left, needed(node, "left")), self.text(node.right, needed(node, "right"))
                return f"{left} {OPERATORS[type(node.op)]} {right}"
            case ast.BoolOp():
                word = f" {OPERATORS[type(node.op)]} "
                return word.join(self.text(each, needed(node, "values")) for each in node.values)
            case ast.UnaryOp():
                return OPERATORS[type(node.op)] + self.text(node.operand, needed(node, "operand"))
            case ast.Compare():
                pairs = zip(node.ops, node.comparators, strict=True)
                rest = [f" {OPERATORS[type(operator)]} {self.text(right, BITS)}" for operator, right in pairs]
                return self.text(node.left, BITS) + "".join(rest)
            case ast.IfExp():
                test, body, other = self.text(node.test, OR), self.text(node.body, OR), self.text(node.orelse, TEST)
                return f"{body} if {test} else {other}"
        return self._part(node)

    def _part(self, node: ast.expr) -> str:
        match node:
            case ast.Name():
                text = node.id
            case ast.Constant():
                text = self._constant(node.value)
            case ast.Call():
                words = [f"{word.arg}={self.text(word.value, TEST)}" if word.arg else f"**{self.text(word.value, BITS)}"
                         for word in node.keywords]  # fmt: skip
                given = [self.text(each, TEST) for each in node.args]
                text = f"{self.text(node.func, ATOM)}({', '.join([*given, *words])})"
            case ast.Attribute():
                text = f"{self.text(node.value, ATOM)}.{node.attr}"
            case ast.Subscript():
                text = f"{self.text(node.value, ATOM)}[{self.text(node.slice)}]"
            case ast.Slice():
                bounds = [self.text(each, TEST) if each else "" for each in (node.lower, node.upper, node.step)]
                text = ":".join(bounds if node.step else bounds[:2])
            case ast.List() | ast.Tuple():
                inner = ", ".join(self.text(each, TEST) for each in node.elts)
                single = "," if isinstance(node, ast.Tuple) and len(node.elts) == 1 else ""
                text = f"[{inner}]" if isinstance(node, ast.List) else f"({inner}{single})"
            case _:
                text = ast.unparse(node)
        return text

    def _constant(self, value: object) -> str:
        text = repr(value)
        if isinstance(value, str) and self.quote == '"' and text.startswith("'") and '"' not in text:
            return f'"{text[1:-1]}"'
        return text
