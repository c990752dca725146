# SPDX-License-Identifier: Apache-2.0
"""What a call gave, as bytes: stable, with a name for each part."""

import collections
import dataclasses
import datetime
import decimal
import enum
import json
import os
import subprocess
import sys
import types
from unittest import mock

import pytest
from django.core.exceptions import PermissionDenied, ValidationError
from django.http import (Http404, HttpResponse, HttpResponseRedirect,
                         JsonResponse, StreamingHttpResponse)
from django.template import engines
from django.template.response import SimpleTemplateResponse

from sqloom import UsageError
from sqloom._value import (FAILED, OK, REFUSED, SIZE_MAX, Refusals, described,
                           message_of, outcome_of)


class Colour(enum.Enum):
    RED = "r"


@dataclasses.dataclass
class Seat:
    row: int
    label: str
    cache: object = dataclasses.field(default=None, compare=False)


Point = collections.namedtuple("Point", "x y")


class Plain:
    pass


class Broken:
    def __repr__(self):
        raise RuntimeError("no")


def returned(value):
    text = described(value)
    assert text.startswith(b'{"returned":')
    return json.loads(text)["returned"]


@pytest.mark.parametrize("value, expected", [
    (None, None),
    (True, True),
    (7, 7),
    (1 << 70, str(1 << 70)),
    (1.5, 1.5),
    (float("inf"), "inf"),
    ("redeemed", "redeemed"),
    (b"bytes", "bytes"),
    (b"\xff", "b'\\xff'"),
    (decimal.Decimal("1.50"), "1.50"),
    (datetime.date(2024, 5, 6), "2024-05-06"),
    (Colour.RED, "Colour.RED"),
    ([1, (2, 3)], [1, [2, 3]]),
    ({"b", "a", "c"}, ["a", "b", "c"]),
    ({1: "one", None: 2}, {"1": "one", "None": 2}),
    ({1: "a", "1": "b"}, {"1": "a", "1'": "b"}),
    (collections.deque([1, 2]), [1, 2]),
    ({"a": 1}.values(), [1]),
    (range(3), [0, 1, 2]),
    (Seat(1, "A", cache=object()), {"Seat": {"row": 1, "label": "A"}}),
    (Point(1, 2), {"Point": {"x": 1, "y": 2}}),
    (types.SimpleNamespace(a=1), {"SimpleNamespace": {"a": 1}}),
    (ValueError("sold out"), "ValueError: sold out"),
    (Seat, "test_value.Seat"),
    (Plain(), "<test_value.Plain object>"),
    (Broken(), "<Broken, whose repr() fails: RuntimeError>"),
])
def test_values(value, expected):
    assert returned(value) == expected


def test_an_object_that_holds_itself_ends():
    value = []
    value.append(value)
    assert "<list>" in json.dumps(returned(value))


class Everything:
    """Has each attribute that is asked for."""

    status_code = 200

    def __getattr__(self, name):
        return 1


def test_what_answers_everything():
    for value in mock.Mock(name="x"), mock.MagicMock(name="x"):
        kind, _, said = outcome_of(value)
        assert (kind, said) == (OK, "")
    assert outcome_of(Everything())[0] == OK
    assert returned(10 ** 5000).startswith("0x")


def test_what_is_large_becomes_a_digest():
    one, two = "x" * (SIZE_MAX + 1), "x" * SIZE_MAX + "y"
    assert len(described(one)) < 200
    assert described(one) != described(two)
    assert described(one) == described("x" * (SIZE_MAX + 1))


def test_what_is_no_text_is_shown_all_the_same():
    assert described("\ud800") == b'{"returned": "\\ud800"}'


def test_sets_do_not_depend_on_the_hash_seed():
    code = ("from sqloom._value import described; "
            "print(described({'a', 'b', 'c', ('d', 1), frozenset('xyz')}))")
    texts = {subprocess.run([sys.executable, "-c", code], text=True,
                            env={**os.environ, "PYTHONHASHSEED": seed},
                            capture_output=True, check=True, timeout=60).stdout
             for seed in ("0", "1", "2", "3")}
    assert len(texts) == 1


# ---- Django -----------------------------------------------------------------


def test_a_model_instance_has_its_fields():
    from django.contrib.auth.models import Group

    group = Group(id=7, name="staff")
    assert returned(group) == {"Group": {"id": 7, "name": "staff"}}


@pytest.mark.django_db
def test_a_query_set_is_its_rows():
    from django.contrib.auth.models import Group

    Group.objects.create(name="staff")
    value = returned(Group.objects.order_by("name").only("name"))
    assert [row["Group"]["name"] for row in value] == ["staff"]
    # A field that was not read is not read for this.
    assert returned(Group.objects.values_list("name", flat=True)) == ["staff"]


def test_responses():
    plain = outcome_of(HttpResponse("one\ntwo\n"))
    assert plain[0] == OK
    assert json.loads(plain[1])["returned"] == {"status": 200,
                                                "body": ["one", "two"]}
    answer = outcome_of(JsonResponse({"left": 3, "who": {"id": 1}}))
    assert json.loads(answer[1])["returned"] == {
        "status": 200, "body": {"left": 3, "who": {"id": 1}}}
    away = outcome_of(HttpResponseRedirect("/cart/"))
    assert json.loads(away[1])["returned"] == {"status": 302,
                                               "location": "/cart/"}
    stream = outcome_of(StreamingHttpResponse(iter([b"a", b"b"])))
    assert json.loads(stream[1])["returned"]["body"] == "ab"
    template = engines["django"].from_string("{{ n }} left")
    drawn = outcome_of(SimpleTemplateResponse(template, {"n": 3}))
    assert json.loads(drawn[1])["returned"]["body"] == "3 left"


@pytest.mark.parametrize("status, kind", [
    (200, OK), (302, OK), (400, REFUSED), (403, REFUSED), (409, REFUSED),
    (500, FAILED), (503, FAILED)])
def test_the_status_says_how_it_ended(status, kind):
    outcome = outcome_of(HttpResponse("sold out", status=status))
    assert outcome[0] == kind
    assert outcome[2] == ("" if kind == OK else f"HTTP {status}: sold out")


# ---- Exceptions ---------------------------------------------------------------


class SoldOut(Exception):
    pass


class Closed(SoldOut):
    pass


@pytest.mark.parametrize("error", [
    ValidationError("taken"), PermissionDenied(), Http404("none")], ids=repr)
def test_web_refusals_are_known(error):
    kind, value, message = Refusals().outcome_of_error(error)
    assert kind == REFUSED
    assert json.loads(value) == {"raised": type(error).__name__}
    assert message.startswith(type(error).__name__)


def test_other_exceptions_are_failures():
    outcome = Refusals().outcome_of_error(SoldOut("none left\nsee the log"))
    assert outcome == (FAILED, b'{"raised": "SoldOut"}', "SoldOut: none left")


@pytest.mark.parametrize("given", [
    SoldOut, (SoldOut,), [SoldOut], "SoldOut", ["test_value.SoldOut"]],
    ids=repr)
def test_refusals_by_class_and_by_name(given):
    refusals = Refusals(given)
    assert refusals.include(SoldOut())
    assert refusals.include(Closed())
    assert not refusals.include(ValueError())


@pytest.mark.parametrize("given", [7, [int], None, ""], ids=repr)
def test_refusals_that_are_none(given):
    with pytest.raises(UsageError, match="refusals= names exceptions"):
        Refusals(given)


def test_messages_have_no_addresses():
    error = ValueError(f"cannot use {Plain()!r}")
    assert message_of(error) == (
        "ValueError: cannot use <test_value.Plain object>")
    assert len(message_of(ValueError("x" * 1000))) == 300
