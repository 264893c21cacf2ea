"""What can be said of a function named in the configuration without running any of its code.

The module is found and its source parsed, but nothing is imported: that would run it, and may take
seconds. What cannot be told so (a decorated function, a name that comes from elsewhere, a module
without source) passes here, and is told when a job calls it.
"""

import ast
import contextlib
from collections.abc import Iterator, Mapping
from functools import cache
from inspect import Parameter
from pathlib import Path
from typing import Any

from limitcycles.configuration import plugins

# The library's own networks: the names of `networks.BUILDERS`, where they stand.
BUILDERS = {
    "small-lenet": "limitcycles.training.networks:small_lenet",
    "fc": "limitcycles.training.networks:fully_connected",
    "allcnn": "limitcycles.training.networks:allcnn",
}
OPTIMISERS = Path(__file__).parents[1] / "training" / "optimisers"  # a module for each kind
_KINDS = {"bool": bool, "int": int, "float": int | float, "str": str}


def optimiser_path(kind: str) -> str:
    """The dotted path of a kind of optimiser: a user's own already is one."""
    module = f"limitcycles.training.optimisers.{kind.replace('-', '_')}"
    return kind if plugins.is_dotted(kind) else f"{module}:Optimiser"


def optimiser_kinds() -> list[str]:
    """The library's own."""
    return sorted(path.stem.replace("_", "-") for path in OPTIMISERS.glob("[!_]*.py"))


def outside(
    limits: Mapping[str, tuple[float, float | None]], options: Mapping[str, Any]
) -> Iterator[tuple[str, str]]:
    """Options below their least number or not below the other (None: there is none), each as
    (its name, sentence)."""
    for name, (least, above) in limits.items():
        value = options.get(name, least)
        if isinstance(value, int | float) and not (
            least <= value and (above is None or value < above)
        ):
            more = "" if above is None else f" and less than {above}"
            yield name, f"{value} is not allowed; it must be at least {least}{more}"


def why_not(dotted: str) -> str | None:
    """Why "package.module:name" leads nowhere, with the remedy; None where nothing says so."""
    module, _, name = dotted.partition(":")
    if module.endswith(".py"):
        return f'write "{module.removesuffix(".py")}:{name}", without .py'
    missing = plugins.missing(module)
    if missing is not None:
        return missing
    files = plugins.source(dotted)
    if not files:
        return None
    tree = _parsed(files[0])
    if isinstance(tree, str):
        return tree
    names = dict(_bound(tree))
    first = name.partition(".")[0]
    if first in names or "*" in names or "__getattr__" in names:
        return None
    near = plugins.did_you_mean(first, names)
    return f'the module "{module}" ({files[0]}) has no "{first}"{near}'


def wrong_options(dotted: str, options: Mapping[str, Any]) -> Iterator[tuple[str | None, str]]:
    """What is wrong with keyword arguments of a function or class, each as (its name, sentence).

    The name is None for arguments that are missing. A value is looked at where the function says
    `bool`, `int`, `float` or `str` of it, and against `limits` of a class (see `outside`). Nothing
    is yielded where the signature cannot be read.
    """
    parameters = _parameters(dotted)
    if parameters is None:
        return
    known = {p.name: p for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)}
    for name, value in options.items():
        if name not in known:
            if not any(p.kind is p.VAR_KEYWORD for p in parameters):
                near = plugins.did_you_mean(name, known)
                takes = f"takes {', '.join(known)}" if known else "takes no options"
                yield name, f'"{dotted}" has no such parameter{near}; it {takes}'
            continue
        kind = known[name].annotation
        if kind in _KINDS and not _fits(value, kind, known[name].default):
            yield name, f'"{dotted}" says that it is {kind}; give one, or correct the function'
    yield from outside(_limits(dotted), options)
    needed = [name for name, p in known.items() if p.default is p.empty and name not in options]
    if needed:
        yield None, f'"{dotted}" needs {", ".join(needed)}; add {{{needed[0]}: ...}}'


def _fits(value: Any, kind: str, default: Any) -> bool:
    if value is None:
        return isinstance(default, ast.Constant) and default.value is None
    return isinstance(value, _KINDS[kind]) and isinstance(value, bool) == (kind == "bool")


def _parameters(dotted: str) -> list[Parameter] | None:
    """The parameters of a function, or of the __init__ of a class without self; None if unknown."""
    node, skipped = _definition(dotted), 0
    if isinstance(node, ast.ClassDef) and _is_dataclass(node):
        return list(_fields(node))
    if isinstance(node, ast.ClassDef) and not node.decorator_list and not node.keywords:
        own = [child for its, child in _bound(node) if its in ("__init__", "__new__")]
        node, skipped = (own[0] if len(own) == 1 else None), 1
    if not isinstance(node, ast.FunctionDef) or node.decorator_list:
        return None
    return list(_read(node.args))[skipped:]


def _definition(dotted: str) -> ast.AST | None:
    """Where the module of a dotted path defines its name; None where it does not, or twice."""
    files, name = plugins.source(dotted), dotted.partition(":")[2]
    tree = _parsed(files[0]) if files else ""
    bound = [] if isinstance(tree, str) else [node for its, node in _bound(tree) if its == name]
    return bound[0] if len(bound) == 1 else None


def _is_dataclass(node: ast.ClassDef) -> bool:
    """Whether it is decorated as one and nothing else, and has no method __init__."""
    names = [getattr(d, "func", d) for d in node.decorator_list]
    named = [getattr(d, "id", getattr(d, "attr", None)) for d in names] == ["dataclass"]
    return named and "__init__" not in dict(_bound(node))


def _fields(node: ast.ClassDef) -> Iterator[Parameter]:
    for child in node.body:
        if isinstance(child, ast.AnnAssign) and "ClassVar" not in ast.unparse(child.annotation):
            said = child.annotation.id if isinstance(child.annotation, ast.Name) else None
            default = Parameter.empty if child.value is None else child.value
            kind = Parameter.POSITIONAL_OR_KEYWORD
            yield Parameter(child.target.id, kind, default=default, annotation=said)


def _limits(dotted: str) -> dict[str, tuple[float, float | None]]:
    """The literal `limits` of a class."""
    for child in getattr(_definition(dotted), "body", ()):
        targets = getattr(child, "targets", [getattr(child, "target", None)])
        if [getattr(target, "id", None) for target in targets] == ["limits"]:
            with contextlib.suppress(ValueError):
                return ast.literal_eval(child.value)
    return {}


def _read(arguments: ast.arguments) -> Iterator[Parameter]:
    positional = [*arguments.posonlyargs, *arguments.args]
    required = len(positional) - len(arguments.defaults)
    for place, argument in enumerate(positional):
        kind = Parameter.POSITIONAL_ONLY
        if place >= len(arguments.posonlyargs):
            kind = Parameter.POSITIONAL_OR_KEYWORD
        default = arguments.defaults[place - required] if place >= required else None
        yield _parameter(argument, kind, default)
    for argument, default in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True):
        yield _parameter(argument, Parameter.KEYWORD_ONLY, default)
    if arguments.kwarg is not None:
        yield _parameter(arguments.kwarg, Parameter.VAR_KEYWORD, None)


def _parameter(argument: ast.arg, kind: Any, default: ast.expr | None) -> Parameter:
    """With the syntax tree of the default as its default."""
    said = argument.annotation.id if isinstance(argument.annotation, ast.Name) else None
    default = Parameter.empty if default is None else default
    return Parameter(argument.arg, kind, default=default, annotation=said)


def _bound(tree: ast.Module | ast.ClassDef) -> Iterator[tuple[str, ast.AST]]:
    """Every name that a module or class binds, also inside if, try, for and with; "*" for all of
    another module."""
    waiting = list(tree.body)
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.name, node
        elif isinstance(node, ast.Import | ast.ImportFrom):
            for alias in node.names:
                yield alias.asname or alias.name.partition(".")[0], node
        else:
            for part in ("body", "orelse", "finalbody", "handlers", "cases"):
                waiting.extend(getattr(node, part, ()))
            for child in ast.walk(node) if not hasattr(node, "body") else [node]:
                if isinstance(child, ast.Name) and isinstance(child.ctx, ast.Store):
                    yield child.id, child


@cache
def _parsed(path: Path) -> ast.Module | str:
    """The syntax tree of a source file, or what is wrong with the file."""
    try:
        return ast.parse(path.read_bytes(), filename=str(path))
    except SyntaxError as error:
        where = f"{path}, line {error.lineno}" if error.lineno else str(path)
        return f"{where}: {error.msg}; correct it"
    except ValueError as error:
        return f"{path}: {error}; save it as UTF-8 text"
    except OSError as error:
        return f"{path}: cannot be read: {error.strerror}"
