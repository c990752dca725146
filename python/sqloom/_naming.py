# SPDX-License-Identifier: Apache-2.0
"""A function, and its arguments, on the way to a clean process.

A function goes by name: the process imports its module. An object that has no
name of its own, as the method of a model instance, goes as a pickle. What can
do neither is refused here, before anything was started.
"""

from __future__ import annotations

import functools
import importlib
import importlib.util
import os
import pickle
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import FunctionType, MethodType, ModuleType
from typing import Any, NamedTuple, Union

from sqloom._wrapped import class_name, shown
from sqloom.errors import UsageError

__all__ = [
    "Function",
    "GivenCall",
    "Spec",
    "function_for",
    "label_of",
    "load_function",
    "packed",
]

Function = Union[Callable[..., Any], str]

_THREADS = (
    "or make the calls on threads: sqloom.Calls(threads=True).call_concurrently"
    "(...)"
)


# Where functools.wraps, and a Celery task, keep the function that they got.
_ORIGINALS = ("__wrapped__", "run")


class GivenCall(NamedTuple):
    """One call, as the user gave it."""

    function: Function
    args: tuple[Any, ...]
    kwargs: dict[str, Any]


class Spec(NamedTuple):
    """How a clean process finds a function."""

    module: str  # or "", if only path or pickled are known
    attribute: str  # dotted
    path: str  # "a.b:c" or "a.b.c", as the user wrote it; or ""
    pickled: bytes
    file: str | None  # of the module, in this process
    label: str  # for people


def function_for(
    function: Function,
) -> tuple[Spec, tuple[Any, ...], dict[str, Any]]:
    """The function, and the arguments that a functools.partial brings along.

    UsageError: a clean process could not find it.
    """
    args: tuple[Any, ...] = ()
    kwargs: dict[str, Any] = {}
    while isinstance(function, functools.partial):
        args = function.args + args
        kwargs = {**function.keywords, **kwargs}
        function = function.func
    if isinstance(function, str):
        return _spec_of_path(function), args, kwargs
    if not callable(function):
        raise UsageError(
            f"{function!r} cannot be called; give a function, or its dotted"
            " path as a string"
        )
    return _spec_of_object(function), args, kwargs


def label_of(function: Any) -> str:
    """What people call the function."""
    if isinstance(function, str):
        return function
    while isinstance(function, functools.partial):
        function = function.func
    module = getattr(function, "__module__", None)
    name = getattr(function, "__qualname__", None) or getattr(
        function, "__name__", None
    )
    if not isinstance(name, str):
        return f"a {type(function).__module__}.{type(function).__qualname__}"
    return f"{module}.{name}" if isinstance(module, str) else name


def _spec_of_path(path: str) -> Spec:
    module = path.partition(":")[0]
    if "." not in path and ":" not in path or not path.strip(".:"):
        raise UsageError(
            f"{path!r} is no dotted path to a function; write"
            " 'package.module.function' or 'package.module:function'"
        )
    return Spec("", "", path, b"", _file_of(sys.modules.get(module)), path)


def _spec_of_object(function: Any) -> Spec:
    found = _name_of(function)
    if found is not None:
        module, attribute = found
        file = _file_of(sys.modules.get(module))
        return Spec(
            module, attribute, "", b"", file, f"{module}.{attribute}"
        )
    if isinstance(function, FunctionType):
        raise UsageError(_refusal(function))
    try:
        pickled = pickle.dumps(function, pickle.HIGHEST_PROTOCOL)
    except Exception as error:
        raise UsageError(
            f"{label_of(function)} cannot be sent to a clean process"
            f" ({class_name(error)}: {shown(error)}); give a function at the"
            f" top of a module, or its dotted path, {_THREADS}"
        ) from None
    return Spec("", "", "", pickled, None, label_of(function))


def _refusal(function: FunctionType) -> str:
    code = function.__code__
    place = f"({code.co_filename}, line {code.co_firstlineno})"
    if function.__name__ == "<lambda>":
        what = f"a lambda {place} has no name"
    elif "<locals>" in function.__qualname__:
        what = (
            f"{function.__qualname__} {place} is made inside of a function,"
            " and is no attribute of a module"
        )
    else:
        what = (
            f"{label_of(function)} {place} is not what its module has under"
            " this name"
        )
    return (
        f"{what}, so a clean process cannot import it; define it at the top of"
        " a module and give its values as arguments, name it by its dotted"
        f" path if it has one, {_THREADS}"
    )


def _file_of(module: ModuleType | None) -> str | None:
    file = getattr(module, "__file__", None)
    return os.path.realpath(file) if isinstance(file, str) else None


def _lookup(module: object, attribute: object) -> Any:
    """None: there is none."""
    if not isinstance(module, str) or not isinstance(attribute, str):
        return None
    found: Any = sys.modules.get(module)
    for part in attribute.split("."):
        if found is None:
            return None
        try:
            found = vars(found).get(part)
        except TypeError:
            return None
    return found


def _name_of(function: Any) -> tuple[str, str] | None:
    """Module and attribute under which this very object is found."""
    owner = getattr(function, "__self__", None)
    if isinstance(function, MethodType) and isinstance(owner, type):
        if _lookup(owner.__module__, owner.__qualname__) is owner:
            return (
                owner.__module__,
                f"{owner.__qualname__}.{function.__name__}",
            )
    if isinstance(function, MethodType):
        return None
    for known in [function, *_inner(function)]:
        module = getattr(known, "__module__", None)
        for name in ("__qualname__", "__name__"):
            attribute = getattr(known, name, None)
            found = _lookup(module, attribute)
            if _is(found, function):
                return str(module), str(attribute)
            for inside in _ORIGINALS:
                if getattr(found, inside, None) is function:
                    return str(module), f"{attribute}.{inside}"
    return _search(function)


def _is(found: Any, function: Any) -> bool:
    """A staticmethod is found as its wrapper."""
    return found is not None and (
        found is function or getattr(found, "__func__", None) is function
    )


def _inner(function: Any) -> Iterator[Any]:
    """What a decorator without functools.wraps hides: the function it got is
    one of its variables, and knows under which name it was defined."""
    for cell in getattr(function, "__closure__", None) or ():
        try:
            if callable(cell.cell_contents):
                yield cell.cell_contents
        except ValueError:  # not yet set
            continue
    if not isinstance(function, (FunctionType, type)):
        for value in list(getattr(function, "__dict__", {}).values()):
            if isinstance(value, FunctionType):
                yield value


def _search(function: Any) -> tuple[str, str] | None:
    """Any module that has this object under some name."""
    for name, module in list(sys.modules.items()):
        if not isinstance(module, ModuleType) or name == "__main__":
            continue
        for attribute, value in list(vars(module).items()):
            if value is function:
                return name, attribute
    return None


def packed(
    label: str, args: Sequence[Any], kwargs: Mapping[str, Any]
) -> bytes:
    """The arguments as a pickle.

    UsageError: names the argument that cannot be pickled.
    """
    try:
        return pickle.dumps(
            (tuple(args), dict(kwargs)), pickle.HIGHEST_PROTOCOL
        )
    except Exception as error:
        raise UsageError(_bad_argument(label, args, kwargs, error)) from None


def _bad_argument(
    label: str,
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
    error: Exception,
) -> str:
    named = [(f"argument {i + 1}", value) for i, value in enumerate(args)]
    named += [(f"argument {name!r}", value) for name, value in kwargs.items()]
    for name, value in named:
        try:
            pickle.dumps(value, pickle.HIGHEST_PROTOCOL)
        except Exception as refusal:
            return (
                f"{name} of {label}, a {type(value).__qualname__}, cannot be"
                " pickled, so it cannot be sent to a clean process"
                f" ({class_name(refusal)}: {shown(refusal)}); give something"
                f" plain, as a primary key, {_THREADS}"
            )
    return (
        f"the arguments of {label} cannot be pickled together"
        f" ({class_name(error)}: {shown(error)})"
    )


# In the helper


def load_function(spec: Spec) -> Callable[..., Any]:
    """Imports the function's module. UsageError: there is no such function."""
    if spec.pickled:
        try:
            return _callable(pickle.loads(spec.pickled), spec)
        except UsageError:
            raise
        except Exception as error:
            raise UsageError(
                f"{spec.label} cannot be used in a clean process:"
                f" {class_name(error)}: {shown(error)}"
            ) from error
    if spec.path:
        return _callable(_load_path(spec), spec)
    module = load_module(spec.module, spec.file)
    return _callable(_attribute(module, spec.attribute, spec), spec)


def _callable(found: Any, spec: Spec) -> Callable[..., Any]:
    if not callable(found):
        raise UsageError(f"{spec.label} is {found!r}, which cannot be called")
    return found  # type: ignore[no-any-return]


def _attribute(found: Any, attribute: str, spec: Spec) -> Any:
    for part in attribute.split("."):
        try:
            found = getattr(found, part)
        except AttributeError as error:
            raise UsageError(
                f"a clean process does not find {spec.label}: {error}; is it"
                " made at the top of its module, whoever imports it?"
            ) from None
    return found


def _load_path(spec: Spec) -> Any:
    module, colon, attribute = spec.path.partition(":")
    if colon:
        return _attribute(load_module(module, spec.file), attribute, spec)
    parts = spec.path.split(".")
    for cut in range(len(parts) - 1, 0, -1):
        name = ".".join(parts[:cut])
        try:
            found = load_module(name, None)
        except ModuleNotFoundError as error:
            if cut > 1 and error.name and name.startswith(error.name):
                continue
            raise
        return _attribute(found, ".".join(parts[cut:]), spec)
    raise AssertionError(spec.path)


def load_module(name: str, file: str | None) -> ModuleType:
    """Imports the module; from the file, if it is not found by its name, or if
    that is another one (pytest --import-mode=importlib, two conftest.py)."""
    try:
        module = importlib.import_module(name)
    except ModuleNotFoundError as error:
        if file is None or error.name is None:
            raise
        if name != error.name and not name.startswith(error.name + "."):
            raise
        return _load_file(name, file)
    if file is not None and _file_of(module) not in (None, file):
        return _load_file(name, file)
    return module


def _load_file(name: str, file: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        raise UsageError(f"a clean process cannot load {name} from {file}")
    module = importlib.util.module_from_spec(spec)
    before = sys.modules.get(name)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        if before is None:
            del sys.modules[name]
        else:
            sys.modules[name] = before
        raise
    return module
