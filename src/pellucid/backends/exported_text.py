"""Checks the text inside an exported PyTorch program, because that text becomes Python code.

A ``.pt2`` archive without a single pickle can still run a stranger's commands: torch hands the
text of symbolic sizes to ``sympify`` (an ``eval``), runs the guards with ``exec``, writes node and
argument names into the source of a ``forward``, imports the module of an enum named in a tree
description, and follows dotted operator names from ``torch``. So the JSON is taken apart along
torch's own schema and put together anew: every string must be of a kind known here, what is not
in the schema is dropped, and a string nobody has thought of is refused.
"""

from __future__ import annotations

import ast
import json
import keyword
import math
import re
import types
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, is_dataclass
from enum import IntEnum
from functools import cache
from typing import Any, NoReturn

from ..records.errors import LoadError, shorten

LARGEST_TEXT = 256 * 2**20
SAVE_ANEW = "save it anew with torch.export.save (torch 2.10 or later), or keep the weights as safetensors"

SYMBOL = re.compile(r"[a-z]{1,4}\d{1,6}")
PATH = re.compile(r"[\w \-/:@+]+(\.[\w \-/:@+]+)*")
CALM = re.compile(r"[\w \-./:,+#()\[\]|@%&=<>?!*]*")
OPERATOR = re.compile(r"torch\.ops\.(\w+)\.(\w+)(?:\.(\w+))?")
NODE_INPUT = re.compile(r"\.nodes\[\d+\]\.inputs\[\d+\]\.arg(\.as_string_to_argument\.[^.]*)*\.as_strings?(\[\d+\])?$")

ARITHMETIC = "getitem|eq|ne|le|ge|lt|gt|neg|pos|mul|add|sub|floordiv|mod|pow|truediv|and_|or_|not_"
PLAIN_OPERATOR = re.compile(
    rf"_operator\.({ARITHMETIC})|torch\.sym_(not|int|float|ite|max|min|sqrt|sum)|math\.(trunc|ceil|floor|sqrt)"
)
HIGHER_ORDER = re.compile(
    "cond|while_loop|map_impl|scan|associative_scan|wrap_with_set_grad_enabled|wrap_with_autocast|"
    "auto_functionalized|auto_functionalized_v2|invoke_subgraph"
)
CALL = re.compile(
    "Symbol|Integer|Rational|Float|Add|Mul|Pow|Max|Min|Abs|Mod|Eq|Equality|Ne|Unequality|Ge|GreaterThan|Le|LessThan|"
    "Gt|StrictGreaterThan|Lt|StrictLessThan|And|Or|Not|FloorDiv|ModularIndexing|Where|PythonMod|CleanDiv|CeilDiv|"
    "CeilToInt|FloorToInt|FloatTrueDiv|IntTrueDiv|TruncToFloat|TruncToInt|RoundToInt|ToFloat|Identity|floor|ceiling"
)
CONTAINERS = frozenset(["builtins.tuple", "builtins.list", "builtins.dict", "collections.OrderedDict"])


def clean_program(text: bytes, where: str) -> bytes:
    """The program's JSON with nothing in it but what a network needs; see the module's docstring.

    Raises :class:`LoadError` naming the file and the place in the program.
    """
    from torch._export.serde import schema

    return _clean(schema.ExportedProgram, text, where)


def clean_payload(text: bytes, where: str, sizes: Mapping[str, int]) -> tuple[bytes, set[str]]:
    """The JSON that lists weights or constants, and the members it needs.

    ``sizes`` are the bytes of each member of that folder. Members to be unpickled, custom objects
    and tensors larger than their bytes are refused.
    """
    from torch._export.serde import schema

    clean = _clean(schema.PayloadConfig, text, where)
    needed = set()
    for name, entry in json.loads(clean)["config"].items():
        place, file = f"{where}:{shorten(name)}", entry["path_name"]
        if entry.get("use_pickle") or not re.fullmatch(r"(weight|tensor)_\d+", file):
            raise LoadError(
                "this member would have to be unpickled, which can run any program",
                where=place,
                why="it is a tensor subclass or a custom object",
                fix=f"turn it into a plain tensor and {SAVE_ANEW}",
            )
        if file not in sizes:
            raise LoadError(f"the archive lacks the member {file!r}", where=place)
        _fits(entry.get("tensor_meta"), sizes[file], place)
        needed.add(file)
    return clean, needed


def _fits(meta: dict[str, Any] | None, size: int, where: str) -> None:
    """Refuse a tensor whose shape needs more than its bytes (torch checks the strides itself)."""
    if meta is None:
        raise LoadError("a tensor has no shape", where=where)
    sizes = [entry.get("as_int", -1) for entry in meta["sizes"]]
    count = math.prod(sizes)
    if min(sizes, default=0) < 0 or (count > size and not (size > 0 and count <= 2**24)):
        raise LoadError(f"a tensor of shape {sizes} does not fit its {size} bytes", where=where)


def _clean(kind: type, text: bytes, where: str) -> bytes:
    if len(text) > LARGEST_TEXT:
        raise LoadError("the program's text is larger than any network's", where=where)
    try:
        data = json.loads(text)
        return json.dumps(_Cleaner(where).value(kind, data, "", None)).encode()
    except (ValueError, RecursionError) as error:
        raise LoadError("the program's text is damaged", where=where, why=shorten(error, 200)) from error


@cache
def _hints(kind: type) -> dict[str, Any]:
    from torch._export.serde import schema

    return typing.get_type_hints(kind, globalns=dict(vars(schema)))


@dataclass(frozen=True)
class _Cleaner:
    """Walks JSON along the types of torch's schema and returns what may stay of it."""

    where: str

    def refuse(self, what: str, path: str, why: str = "") -> NoReturn:
        raise LoadError(what, where=f"{self.where}:{path.lstrip('.')}", why=why, fix=SAVE_ANEW)

    def value(self, hint: Any, data: Any, path: str, owner: tuple[str, str] | None) -> Any:
        """``data`` as far as ``hint`` allows it; ``owner`` is the (class, field) that holds it."""
        origin, inner = typing.get_origin(hint), typing.get_args(hint)
        if origin is types.UnionType or origin is typing.Union:
            rest = [one for one in inner if one is not type(None)]
            return None if data is None else self.value(rest[0], data, path, owner)
        if origin is list:
            self.expect(list, data, path)
            return [self.value(inner[0], item, f"{path}[{index}]", owner) for index, item in enumerate(data)]
        if origin is dict:
            self.expect(dict, data, path)
            return {
                self.text(key, f"{path}.{shorten(key)}", owner, KEYS): self.value(
                    inner[1], item, f"{path}.{shorten(key)}", owner
                )
                for key, item in data.items()
            }
        if is_dataclass(hint):
            return self.record(typing.cast(type, hint), data, path)
        if hint is str:
            return self.text(data, path, owner, STRINGS)
        return self.number(hint, data, path)

    def expect(self, kind: type, data: Any, path: str) -> None:
        if not isinstance(data, kind):
            self.refuse(f"expected {kind.__name__}, found {type(data).__name__}", path)

    def record(self, kind: type, data: Any, path: str) -> dict[str, Any]:
        """The fields of one schema class; a union has exactly one of them."""
        self.expect(dict, data, path)
        name = kind.__name__
        if name in ("CustomObjArgument", "InputToCustomObjSpec"):
            self.refuse("the program needs a custom object, which only a pickle could hold", path)
        hints = _hints(kind)
        if any(base.__name__ == "_Union" for base in kind.__mro__) and (
            len(data) != 1 or not data.keys() <= hints.keys()
        ):
            self.refuse(f"expected one of {name}'s kinds, found {shorten(sorted(data))}", path)
        clean = {}
        for field in fields(kind):
            if field.name in data:
                emptied = EMPTIED.get((name, field.name))
                clean[field.name] = (
                    emptied(data[field.name])
                    if emptied
                    else self.value(hints[field.name], data[field.name], f"{path}.{field.name}", (name, field.name))
                )
        return clean

    def text(self, data: Any, path: str, owner: tuple[str, str] | None, rules: Mapping[Any, Any]) -> str:
        """A string, if the rule for its owner allows it."""
        self.expect(str, data, path)
        kind, field = owner or ("", "")
        rule: Callable[[str, str], str | None] | None = rules.get((kind, field)) or rules.get(field)
        clean = rule(data, path) if rule else None
        if clean is None:
            self.refuse(
                f"{shorten(data)!r} may not stand here",
                path,
                "torch may turn this text into code, and only plain networks are known to be safe",
            )
        return clean

    def number(self, hint: Any, data: Any, path: str) -> Any:
        """A bool, an int, a float or a member of an enumeration."""
        if isinstance(hint, type) and issubclass(hint, IntEnum):
            fine = type(data) is int and data in tuple(hint)
        elif hint is bool:
            fine = type(data) is bool
        elif hint is int:
            fine = type(data) is int and abs(data) <= 2**63
        else:
            fine = hint is float and (type(data) in (int, float) or data in ("Infinity", "-Infinity", "NaN"))
        if not fine:
            self.refuse(f"{shorten(data)!r} is not a value of {getattr(hint, '__name__', hint)}", path)
        return data


def _name(text: str, path: str = "") -> str | None:
    """A Python name; it may end up in generated source."""
    return text if text.isidentifier() and not keyword.iskeyword(text) else None


def _maybe_name(text: str, path: str) -> str | None:
    return text if text == "" else _name(text)


def _dotted(text: str, path: str) -> str | None:
    return text if text == "" or PATH.fullmatch(text) else None


def _calm(text: str, path: str) -> str | None:
    """Text without quotes, backslashes, braces or line ends; it may end up inside quotes."""
    return text if CALM.fullmatch(text) else None


def _argument_text(text: str, path: str) -> str | None:
    """An operator's own text argument is free (torch writes its ``repr``); any other must be calm."""
    return text if NODE_INPUT.search(path) else _calm(text, path)


def _symbol(text: str, path: str) -> str | None:
    return text if SYMBOL.fullmatch(text) else None


def _operator(text: str, path: str) -> str | None:
    """An operator that computes: torch's own tensor operators, arithmetic, and control flow."""
    found = OPERATOR.fullmatch(text)
    if found is None:
        return text if PLAIN_OPERATOR.fullmatch(text) else None
    room, name, overload = found.groups()
    if room == "higher_order":
        return text if HIGHER_ORDER.fullmatch(name) and overload is None else None
    return text if room == "aten" and overload and _computes(name, overload) else None


@cache
def _computes(name: str, overload: str) -> bool:
    """Whether aten has this overload, registered for tensors, and it neither prints nor touches files."""
    import torch

    try:
        operator = getattr(getattr(torch.ops.aten, name), overload)
    except AttributeError:
        return False
    return (
        isinstance(operator, torch._ops.OpOverload)
        and operator.name() in _registered()
        and name != "_print"
        and not any("filename" in argument.name for argument in operator._schema.arguments)
    )


@cache
def _registered() -> frozenset[str]:
    import torch

    return frozenset(torch._C._dispatch_get_all_op_names())


def _expression(text: str, path: str) -> str | None:
    """A symbolic size: sums, products and comparisons of symbols and numbers, written out anew."""
    if len(text) > 10_000:
        return None
    try:
        tree = ast.parse(text.strip(), mode="eval")
        powers = sum(_is_power(node) for node in ast.walk(tree))
        return ast.unparse(tree) if powers <= 4 and _harmless(tree.body) else None
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def _is_power(node: ast.AST) -> bool:
    called = isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Pow"
    return called or isinstance(node, ast.Pow)


def _harmless(node: ast.AST) -> bool:
    """Whether evaluating ``node`` with sympy can only compute, and quickly."""
    match node:
        case ast.Constant(value=bool() | int() | float()):
            return True
        case ast.Name(id=name):
            return bool(SYMBOL.fullmatch(name)) or name in ("true", "false", "True", "False")
        case ast.UnaryOp(op=ast.USub() | ast.UAdd(), operand=inner):
            return _harmless(inner)
        case ast.BinOp(left=left, op=ast.Pow(), right=right):
            return _harmless(left) and _small(right)
        case ast.BinOp(left=left, op=ast.Add() | ast.Sub() | ast.Mult() | ast.Div() | ast.FloorDiv() | ast.Mod()):
            return _harmless(left) and _harmless(node.right)
        case ast.Compare(left=left, comparators=others):
            return _harmless(left) and all(map(_harmless, others))
        case ast.Call(func=ast.Name(id=name), args=arguments, keywords=options) if CALL.fullmatch(name):
            return _harmless_call(name, arguments, options)
    return False


def _harmless_call(name: str, arguments: list[ast.expr], options: list[ast.keyword]) -> bool:
    if not all(
        isinstance(option.value, ast.Constant) and type(option.value.value) in (bool, int) for option in options
    ):
        return False
    if any(option.arg is None or not option.arg.isalpha() for option in options):
        return False
    if name == "Symbol":
        return len(arguments) == 1 and _is_text(arguments[0], SYMBOL)
    if name == "Float":
        return len(arguments) == 1 and (
            _harmless(arguments[0]) or _is_text(arguments[0], re.compile(r"[-+.\de]{1,40}"))
        )
    if name == "Pow":
        return len(arguments) == 2 and _harmless(arguments[0]) and _small(arguments[1])
    return all(map(_harmless, arguments))


def _is_text(node: ast.expr, shape: re.Pattern[str]) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, str) and bool(shape.fullmatch(node.value))


def _small(node: ast.expr) -> bool:
    """An exponent small enough that the power cannot fill the memory."""
    match node:
        case ast.Constant(value=int(number)):
            return abs(number) <= 8
        case ast.UnaryOp(op=ast.USub(), operand=inner):
            return _small(inner)
        case ast.Call(func=ast.Name(id="Integer"), args=[inner], keywords=[]):
            return _small(inner)
    return False


def _tree(text: str, path: str) -> str | None:
    """A description of nested tuples, lists and dicts; other containers would import their class."""
    try:
        version, root = json.loads(text)
        clean = _branch(root) if version == 1 else None
    except (ValueError, TypeError, KeyError, RecursionError):
        return None
    if clean is None or (path.endswith(".in_spec") and not _named_arguments(clean)):
        return None
    return json.dumps([1, clean])


def _branch(node: dict[str, Any]) -> dict[str, Any] | None:
    kind, context, children = node["type"], node["context"], node["children_spec"]
    if kind is None:
        return {"type": None, "context": None, "children_spec": []} if context is None and not children else None
    if kind not in CONTAINERS:
        return None
    keys = json.loads(context)
    if not _fitting(kind, keys, len(children)):
        return None
    clean = [_branch(child) for child in children]
    return None if None in clean else {"type": kind, "context": json.dumps(keys), "children_spec": clean}


def _fitting(kind: str, keys: Any, count: int) -> bool:
    """Whether the keys of a container are plain, and as many as its children."""
    if kind in ("builtins.tuple", "builtins.list"):
        return keys is None
    return (
        isinstance(keys, list)
        and len(keys) == count
        and all(type(key) in (int, bool) or (type(key) is str and CALM.fullmatch(key)) for key in keys)
    )


def _named_arguments(root: dict[str, Any]) -> bool:
    """Whether a call's description is (arguments, named arguments) with Python names."""
    if root["type"] != "builtins.tuple" or len(root["children_spec"]) != 2:
        return False
    named = root["children_spec"][1]
    return named["type"] == "builtins.dict" and all(
        type(key) is str and _name(key) for key in json.loads(named["context"])
    )


def _notes(metadata: Any) -> dict[str, str]:
    """Of a node's remarks only those that tell the reader where it came from."""
    if not isinstance(metadata, dict):
        return {}
    kept = {}
    trace, stack = metadata.get("stack_trace"), metadata.get("nn_module_stack")
    if isinstance(trace, str) and len(trace) <= 20_000 and all(line.isprintable() for line in trace.split("\n")):
        kept["stack_trace"] = trace
    if isinstance(stack, str) and len(stack) <= 20_000 and all(item.count(",") == 2 for item in stack.split(";")):
        kept["nn_module_stack"] = stack
    return kept


EMPTIED: dict[tuple[str, str], Callable[[Any], Any]] = {
    ("ExportedProgram", "guards_code"): lambda _: [],
    ("GraphModule", "metadata"): lambda _: {},
    ("GraphModule", "treespec_namedtuple_fields"): lambda _: {},
    ("Node", "metadata"): _notes,
}
STRINGS: dict[Any, Callable[[str, str], str | None]] = {
    "name": _name,
    "as_name": _name,
    "user_input_name": _name,
    "forward_arg_names": _name,
    "parameter_name": _dotted,
    "buffer_name": _dotted,
    "tensor_constant_name": _dotted,
    "fqn": _dotted,
    "as_string": _argument_text,
    "as_strings": _argument_text,
    "as_operator": _operator,
    "target": _operator,
    "expr_str": _expression,
    "in_spec": _tree,
    "out_spec": _tree,
    "torch_version": _calm,
    ("NamedArgument", "name"): _maybe_name,
    ("InputToConstantInputSpec", "name"): _maybe_name,
    ("Device", "type"): lambda text, path: text if text in ("cpu", "cuda", "mps", "xpu") else None,
    ("ExportedProgram", "verifiers"): lambda text, path: text if text in ("", "ATEN", "TRAINING") else None,
    ("PayloadMeta", "path_name"): lambda text, path: text if re.fullmatch(r"\w+", text) else None,
}
KEYS: dict[Any, Callable[[str, str], str | None]] = {
    "tensor_values": _name,
    "sym_int_values": _name,
    "sym_bool_values": _name,
    "sym_float_values": _name,
    "custom_obj_values": lambda text, path: None,
    "as_string_to_argument": lambda text, path: text if re.fullmatch(r"\w[\w -]*", text) else None,
    "opset_version": _name,
    "range_constraints": _symbol,
    "config": _dotted,
}
