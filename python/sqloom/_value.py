# SPDX-License-Identifier: Apache-2.0
"""What a call gave, as bytes that can be compared.

The same value is always the same bytes: no addresses, no order of sets. It is
JSON, so that each part has a name in the report and can be masked by itself if
it differs between equal runs. Keys that the database generated stay in it: they
are compared by their row.

Frameworks are recognised by what their objects have; none is imported.
"""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import decimal
import enum
import hashlib
import json
import math
import re
import types
import uuid
from collections.abc import Iterable, Mapping, Sequence, Set, ValuesView
from typing import Any

from sqloom import errors

__all__ = ["Refusals", "described", "message_of", "outcome_of"]

OK, FAILED, REFUSED = 0, 1, 2  # as sqloom._ext has them

DEPTH_MAX = 24  # levels of parts; what is deeper is named by its class
SIZE_MAX = 1 << 20  # bytes; of more, a digest is compared
MESSAGE_MAX = 300  # characters of a message
INTEGER_MAX = (1 << 63) - 1
SERVER_ERROR, CLIENT_ERROR = 500, 400  # statuses of HTTP, from which on

_ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")

# What a caller expects to be told: a refusal, not an error.
_REFUSALS = {
    "django.core.exceptions.ValidationError",
    "django.core.exceptions.PermissionDenied",
    "django.core.exceptions.SuspiciousOperation",
    "django.http.response.Http404",
}
# Exceptions with a status of HTTP: a refusal below 500.
_HTTP_ERRORS = {
    "rest_framework.exceptions.APIException": "status_code",
    "werkzeug.exceptions.HTTPException": "code",
    "starlette.exceptions.HTTPException": "status_code",
}


def clean(text: str) -> str:
    """Without addresses."""
    return _ADDRESS.sub("", text)


def name_of(kind: type) -> str:
    return f"{kind.__module__}.{kind.__qualname__}"


# ---- Parts ----------------------------------------------------------------


def _key(key: object) -> str:
    if isinstance(key, str):
        return key.replace("\0", "\\0")
    return clean(str(key))


def _mapping(value: Mapping[Any, Any], depth: int) -> dict[str, Any]:
    parts: dict[str, Any] = {}
    for key, item in value.items():
        name = _key(key)
        while name in parts:
            name += "'"
        parts[name] = _part(item, depth)
    return parts


def _fields(value: object) -> dict[str, Any] | None:
    """The fields of an object of a kind that has fields; None: it has none."""
    kind: Any = type(value)
    meta = getattr(kind, "_meta", None)
    loaded = getattr(value, "__dict__", {})
    if meta is not None and hasattr(meta, "concrete_fields"):  # Django
        names = [field.attname for field in meta.concrete_fields]
        return {name: loaded[name] for name in names if name in loaded}
    mapper = getattr(kind, "__mapper__", None)
    if mapper is not None and hasattr(mapper, "column_attrs"):  # SQLAlchemy
        names = [attribute.key for attribute in mapper.column_attrs]
        return {name: loaded[name] for name in names if name in loaded}
    if dataclasses.is_dataclass(kind):
        names = [field.name for field in dataclasses.fields(kind) if field.compare]
    elif isinstance(value, tuple) and hasattr(kind, "_fields"):
        names = list(kind._fields)
    elif hasattr(kind, "__attrs_attrs__"):
        names = [a.name for a in kind.__attrs_attrs__ if a.eq]
    elif isinstance(value, types.SimpleNamespace):
        names = list(loaded)
    elif kind.__name__ == "EagerResult" and kind.__module__ == "celery.result":
        names = ["state", "result"]
    else:
        return None
    return {name: getattr(value, name) for name in names if hasattr(value, name)}


def _scalar(value: object) -> Any:
    """The JSON of a value without parts; NotImplemented: it is something else."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, enum.Enum):
        return f"{type(value).__name__}.{value.name}"
    if isinstance(value, int):
        # Python refuses to write very long ones in tens.
        return int(value) if abs(value) <= INTEGER_MAX else _long(int(value))
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else repr(float(value))
    if isinstance(value, str):
        return str(value)
    if isinstance(value, (bytes, bytearray, memoryview)):
        return _bytes(bytes(value))
    if isinstance(value, (datetime.date, datetime.time)):
        return value.isoformat()
    if isinstance(value, (decimal.Decimal, uuid.UUID, datetime.timedelta)):
        return str(value)
    if isinstance(value, BaseException):
        return message_of(value)
    if isinstance(value, type):
        return name_of(value)
    if callable(value) and hasattr(value, "__qualname__"):
        return f"{getattr(value, '__module__', '')}.{value.__qualname__}"
    return NotImplemented


def _long(value: int) -> str:
    try:
        return str(value)
    except ValueError:
        return hex(value)


def _bytes(value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return repr(value)


def _is_query(value: object) -> bool:
    """A QuerySet, or the result of an SQLAlchemy query that has its rows."""
    return (
        isinstance(value, Iterable)
        and hasattr(value, "model")
        and hasattr(value, "query")
    )


def _part(value: Any, depth: int) -> Any:
    scalar = _scalar(value)
    if scalar is not NotImplemented:
        return scalar
    if depth >= DEPTH_MAX:
        return f"<{type(value).__name__}>"
    response = _response(value)
    if response is not None:
        return response[1]
    fields = _fields(value)
    if fields is not None:
        return {type(value).__name__: _mapping(fields, depth + 1)}
    if isinstance(value, Mapping):
        return _mapping(value, depth + 1)
    if isinstance(value, Set) and not isinstance(value, Sequence):
        parts = [_part(item, depth + 1) for item in value]
        return sorted(parts, key=_dump)
    if isinstance(value, (Sequence, ValuesView)) or _is_query(value):
        return [_part(item, depth + 1) for item in value]
    if isinstance(value, Iterable) and type(value).__module__ == "collections":
        return [_part(item, depth + 1) for item in value]  # deque and its like
    return _unknown(value)


def _unknown(value: object) -> str:
    kind = type(value)
    try:
        if kind.__module__ == "django.utils.functional":  # a lazy translation
            return str(value)
        return clean(repr(value))
    except Exception as error:
        return f"<{kind.__name__}, whose repr() fails: {type(error).__name__}>"


def _dump(part: object) -> str:
    return json.dumps(part, ensure_ascii=False, sort_keys=True, allow_nan=False)


# ---- Responses ------------------------------------------------------------


def _content(response: Any) -> bytes:
    if getattr(response, "streaming", False):
        chunks = response.streaming_content
        return b"".join(chunks) if isinstance(chunks, Iterable) else b""
    for name in ("content", "data", "body"):
        content = getattr(response, name, None)
        if isinstance(content, str):
            return content.encode()
        if isinstance(content, (bytes, bytearray, memoryview)):
            return bytes(content)
    return b""


def _header(response: Any, name: str) -> str:
    for where in (getattr(response, "headers", None), response):
        with contextlib.suppress(AttributeError, TypeError):
            found = where.get(name)
            return str(found) if found else ""
    return ""


def _body(response: Any) -> Any:
    content = _content(response)
    if "json" in _header(response, "Content-Type"):
        try:
            return _part(json.loads(content), 2)
        except ValueError:
            pass
    lines = _bytes(content).splitlines()
    return lines[0] if len(lines) == 1 else lines or None


def _response(value: Any) -> tuple[int, dict[str, Any]] | None:
    """The status and the parts of an answer of HTTP, of Django or any other
    framework, rendered if it was not; None: it is something else."""
    status = getattr(value, "status_code", None)
    if not isinstance(status, int) or isinstance(value, type):
        return None
    if getattr(value, "is_rendered", True) is False:
        value = value.render()
    parts: dict[str, Any] = {"status": int(status)}
    location = _header(value, "Location")
    if location:
        parts["location"] = location
    body = _body(value)
    if body is not None:
        parts["body"] = body
    return int(status), parts


# ---- Outcomes -------------------------------------------------------------


def described(value: object) -> bytes:
    """The bytes of a value. Evaluates a QuerySet, renders a response: it is to
    be called where the call runs."""
    return _encoded("returned", _part(value, 0))


def _encoded(key: str, part: object) -> bytes:
    # No blank before the key: by that it is known.
    encoded = _dump({key: part}).encode("utf-8", "backslashreplace")
    if len(encoded) <= SIZE_MAX:
        return encoded
    digest = hashlib.sha256(encoded).hexdigest()
    return _encoded(key, f"{len(encoded)} bytes with the digest {digest}")


def message_of(error: BaseException) -> str:
    """The exception in one line: its class, and the first line it says."""
    try:
        said = str(error).strip().splitlines()
    except Exception:
        said = []
    text = type(error).__name__ + (f": {said[0].strip()}" if said else "")
    text = clean(text)
    return text if len(text) <= MESSAGE_MAX else text[: MESSAGE_MAX - 3] + "..."


class Refusals:
    """Which exceptions are refusals: those that every web framework takes for
    one, and the given ones: classes, or names of classes."""

    def __init__(self, given: object = ()) -> None:
        items = given if isinstance(given, (tuple, list, set, frozenset)) else (given,)
        self._classes: tuple[type[BaseException], ...] = ()
        self._names: set[str] = set()
        for item in items:
            if isinstance(item, type) and issubclass(item, BaseException):
                self._classes += (item,)
            elif isinstance(item, str) and item:
                self._names.add(item)
            else:
                raise errors.UsageError(
                    f"refusals= names exceptions by class or by name; "
                    f"{clean(repr(item))} is neither"
                )

    def include(self, error: BaseException) -> bool:
        if isinstance(error, self._classes):
            return True
        for kind in type(error).__mro__:
            name = name_of(kind)
            if name in _REFUSALS or {name, kind.__name__} & self._names:
                return True
            if name in _HTTP_ERRORS:
                status = getattr(error, _HTTP_ERRORS[name], None)
                return isinstance(status, int) and status < SERVER_ERROR
        return False

    def outcome_of_error(self, error: BaseException) -> tuple[int, bytes, str]:
        """How a call ended that raised."""
        how = REFUSED if self.include(error) else FAILED
        return how, _encoded("raised", type(error).__name__), message_of(error)


def outcome_of(value: object) -> tuple[int, bytes, str]:
    """How a call ended that returned: the kind, the bytes, the message."""
    response = _response(value)
    if response is None:
        return OK, described(value), ""
    status, parts = response
    if status < CLIENT_ERROR:
        return OK, _encoded("returned", parts), ""
    how = FAILED if status >= SERVER_ERROR else REFUSED
    body = parts.get("body")
    said = body if isinstance(body, str) else ""
    text = f"HTTP {status}" + (f": {said}" if said else "")
    return how, _encoded("returned", parts), text[:MESSAGE_MAX]
