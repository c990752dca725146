# SPDX-License-Identifier: Apache-2.0
"""suspendingreceiver and suspend_signals, with Django's own signals and with
signals of the tests."""

import asyncio
import gc
import inspect
import threading
import unittest

import django
import pytest
from asgiref.sync import async_to_sync, sync_to_async
from django.db.models.signals import (
    ModelSignal,
    post_delete,
    post_save,
    pre_delete,
    pre_save,
)
from django.dispatch import Signal, receiver
from django.test import SimpleTestCase, TestCase, override_settings

from ledger.models import Entry, Line
from sqloom.django import _signals, suspend_signals, suspendingreceiver
from sqloom.errors import UsageError

HAS_ASYNC_SIGNALS = django.VERSION >= (5, 0)
CALLED = []


@pytest.fixture(autouse=True)
def nothing_called():
    del CALLED[:]


@pytest.fixture
def signal():
    return Signal()


def first(sender, **kwargs):
    CALLED.append("first")
    return 1


def second(sender, **kwargs):
    CALLED.append("second")
    return 2


class Mailer:
    def send(self, sender, **kwargs):
        CALLED.append("mail")


def calls(signal, sender=None):
    """Who is called by a send."""
    del CALLED[:]
    signal.send(sender)
    return CALLED[:]


# suspendingreceiver

def test_setting(signal, settings):
    @suspendingreceiver(signal)
    def index(sender, **kwargs):
        CALLED.append("index")
        return 7

    assert not hasattr(settings, "SUSPEND_SIGNALS")
    assert signal.send(None) == [(index, 7)]
    settings.SUSPEND_SIGNALS = True
    assert signal.send(None) == [(index, None)]
    settings.SUSPEND_SIGNALS = False
    assert calls(signal) == ["index"]


def test_arguments_of_receiver(signal, settings):
    other = Signal()

    @suspendingreceiver([signal, other], sender=Entry, weak=False,
                        dispatch_uid="once")
    def index(sender, **kwargs):
        CALLED.append("index")

    @suspendingreceiver((signal,), sender=Entry, dispatch_uid="once")
    def again(sender, **kwargs):
        CALLED.append("again")

    del index
    gc.collect()
    assert calls(signal, Entry) == calls(other, Entry) == ["index"]
    assert calls(signal, Line) == []
    settings.SUSPEND_SIGNALS = True
    assert calls(signal, Entry) == []
    assert signal.disconnect(sender=Entry, dispatch_uid="once")


def test_weak_by_default(signal):
    @suspendingreceiver(signal)
    def index(sender, **kwargs):
        CALLED.append("index")
    assert calls(signal) == ["index"]
    del index
    gc.collect()
    assert calls(signal) == []


def test_disconnect(signal):
    @suspendingreceiver(signal)
    def index(sender, **kwargs):
        "Documented."
    assert index.__name__ == "index" and index.__doc__ == "Documented."
    assert signal.disconnect(index)
    assert not signal.has_listeners()


def test_several_decorators(signal, settings):
    other = Signal()

    @receiver(other)
    @suspendingreceiver(signal, sender=Entry)
    @suspendingreceiver(signal, sender=Line)
    def index(sender, **kwargs):
        CALLED.append(sender.__name__)
    assert calls(signal, Entry) + calls(signal, Line) == ["Entry", "Line"]
    assert calls(other, Entry) == ["Entry"]
    settings.SUSPEND_SIGNALS = True
    assert calls(signal, Entry) + calls(signal, Line) == []


def test_called_directly(signal, settings):
    @suspendingreceiver(signal)
    def index(sender, **kwargs):
        return sender
    settings.SUSPEND_SIGNALS = True
    assert index(3) is None
    assert index.__wrapped__(3) == 3


@suspendingreceiver(post_save, sender=Entry)
def entry_saved(sender, instance, created, **kwargs):
    CALLED.append(instance.name)


@override_settings(SUSPEND_SIGNALS=True)
class OverriddenSettings(TestCase):
    def setUp(self):
        Entry.objects.create(name="setUp")

    def test_silent(self):
        Entry.objects.create(name="silent")
        assert CALLED == []

    @override_settings(SUSPEND_SIGNALS=False)
    def test_method(self):
        Entry.objects.create(name="loud")
        assert CALLED == ["loud"]

    def test_with_block(self):
        with self.settings(SUSPEND_SIGNALS=False):
            Entry.objects.create(name="loud")
        Entry.objects.create(name="silent")
        assert CALLED == ["loud"]


@override_settings(SUSPEND_SIGNALS=False)
class DerivedFromOverridden(OverriddenSettings):
    test_with_block = None

    def setUp(self):
        pass

    def test_silent(self):
        Entry.objects.create(name="loud")
        assert CALLED == ["loud"]


@pytest.mark.skipif(not HAS_ASYNC_SIGNALS, reason="since Django 5.0")
def test_async_receiver(signal, settings):
    @suspendingreceiver(signal)
    async def index(sender, **kwargs):
        CALLED.append("index")
        return 7

    assert inspect.iscoroutinefunction(index)
    assert asyncio.run(signal.asend(None)) == [(index, 7)]
    assert signal.send(None) == [(index, 7)]
    settings.SUSPEND_SIGNALS = True
    assert asyncio.run(signal.asend(None)) == [(index, None)]
    assert CALLED == ["index", "index"]


# suspend_signals: what is suspended

@pytest.fixture
def four(signal):
    """Two signals with two receivers each, one of which wants one sender."""
    other = Signal(use_caching=True) if django.VERSION >= (
        4, 0) else ModelSignal(use_caching=True)
    for each in (signal, other):
        each.connect(first)
        each.connect(second, sender=Entry)
    return signal, other


def test_all(four):
    signal, other = four
    with suspend_signals():
        assert calls(signal, Entry) == calls(other, Entry) == []
        assert signal.send(Entry) == signal.send_robust(Entry) == []
        assert not signal.has_listeners(Entry)
    assert calls(signal, Entry) == calls(other, Entry) == ["first", "second"]
    assert signal.has_listeners(Entry)


def test_by_signal(four):
    signal, other = four
    with suspend_signals(signal):
        assert calls(signal, Entry) == []
        assert calls(other, Entry) == ["first", "second"]
    with suspend_signals(signal, other):
        assert calls(signal, Entry) == calls(other, Entry) == []
    assert calls(signal, Entry) == ["first", "second"]


def test_by_sender(four):
    signal, other = four
    with suspend_signals(sender=Entry):
        assert calls(signal, Entry) == calls(other, Entry) == []
        assert calls(signal, Line) == ["first"]
    with suspend_signals(sender=[Line, Entry]):
        assert calls(signal, Entry) == calls(signal, Line) == []
        assert calls(signal) == ["first"]


@pytest.mark.parametrize("label", ["ledger.Entry", "ledger.entry"])
def test_by_label_of_sender(four, label):
    with suspend_signals(sender=label):
        assert calls(four[0], Entry) == []
        assert calls(four[0], Line) == ["first"]
        assert calls(four[0], "ledger.Line") == ["first"]


def test_by_receiver(four):
    signal, other = four
    with suspend_signals(receiver=first):
        assert calls(signal, Entry) == calls(other, Entry) == ["second"]
        assert calls(signal, Line) == []
    with suspend_signals(receiver=(first, second)):
        assert calls(signal, Entry) == []


def test_by_path_and_dispatch_uid(four):
    signal, other = four
    with suspend_signals(receiver="test_signals.first"):
        assert calls(signal, Entry) == ["second"]
    signal.connect(Mailer().send, weak=False, dispatch_uid="mails")
    with suspend_signals(receiver="mails"):
        assert calls(signal, Entry) == ["first", "second"]
    with suspend_signals(receiver="test_signals.Mailer.send"):
        assert calls(signal, Entry) == ["first", "second"]


def test_by_method(signal):
    one, two = Mailer(), Mailer()
    signal.connect(one.send)
    signal.connect(two.send)
    with suspend_signals(receiver=one.send):
        assert calls(signal) == ["mail"]
    assert calls(signal) == ["mail", "mail"]


def test_by_what_a_receiver_wraps(signal):
    @suspendingreceiver(signal)
    def index(sender, **kwargs):
        CALLED.append("index")
    with suspend_signals(receiver=index):
        assert calls(signal) == []
    with suspend_signals(receiver=index.__wrapped__):
        assert calls(signal) == []


def test_all_must_fit(four):
    signal, other = four
    with suspend_signals(signal, sender=Entry, receiver=second):
        assert calls(signal, Entry) == ["first"]
        assert calls(other, Entry) == ["first", "second"]
        assert calls(signal, Line) == ["first"]


# suspend_signals: stacked, undone, meanwhile

def test_stacked_in_any_order(four):
    signal, _ = four
    one, two = suspend_signals(receiver=first), suspend_signals(sender=Entry)
    one.__enter__()
    two.__enter__()
    assert calls(signal, Entry) == calls(signal, Line) == []
    one.__exit__(None, None, None)
    assert calls(signal, Entry) == []
    assert calls(signal, Line) == ["first"]
    two.__exit__(None, None, None)
    assert calls(signal, Entry) == ["first", "second"]


def test_same_one_entered_again(four):
    signal, _ = four
    scope = suspend_signals()
    with scope:
        with scope:
            assert calls(signal) == []
        assert calls(signal) == []
    assert calls(signal) == ["first"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_undone_by_exceptions(four, error):
    with pytest.raises(error):
        with suspend_signals():
            raise error
    assert calls(four[0]) == ["first"]


def test_connected_and_disconnected_meanwhile(four):
    for signal in four:
        with suspend_signals(receiver=first):
            signal.disconnect(first)
            mailer = Mailer()
            signal.connect(mailer.send)
            assert calls(signal, Entry) == ["second", "mail"]
            signal.connect(first)
            assert calls(signal, Entry) == ["second", "mail"]
            signal.disconnect(second, sender=Entry)
        assert calls(signal, Entry) == ["mail", "first"]
        del mailer
        gc.collect()
        assert calls(signal, Entry) == ["first"]


def test_cache_of_senders():
    """What is cached while suspended is not what stays; and the other way."""
    signal = ModelSignal(use_caching=True)
    signal.connect(first)
    with suspend_signals(signal):
        assert calls(signal, Entry) == []
    assert calls(signal, Entry) == ["first"]
    with suspend_signals(signal):
        assert calls(signal, Entry) == []
    with suspend_signals(receiver=second):
        assert calls(signal, Entry) == ["first"]


def test_beside_another_way_to_silence(four):
    """Other helpers swap the list of receivers."""
    signal, _ = four
    with suspend_signals(receiver=first):
        kept, signal.receivers = signal.receivers, []
        signal.sender_receivers_cache.clear()
        assert calls(signal, Entry) == []
        signal.receivers = kept
    assert calls(signal, Entry) == ["first", "second"]


# suspend_signals: threads

def in_thread(function, *args):
    got = []
    thread = threading.Thread(target=lambda: got.append(function(*args)))
    thread.start()
    thread.join(20)
    return got[0]


def sent(signal):
    return [response for _, response in signal.send(Entry)]


def test_all_threads(four):
    with suspend_signals():
        assert in_thread(sent, four[0]) == []
    assert in_thread(sent, four[0]) == [1, 2]


def test_this_thread(four):
    with suspend_signals(this_thread=True):
        assert sent(four[0]) == []
        assert in_thread(sent, four[0]) == [1, 2]
        assert asyncio.run(sync_to_async(sent)(four[0])) == []
        with suspend_signals(receiver=first):
            assert in_thread(sent, four[0]) == [2]
    assert sent(four[0]) == [1, 2]
    assert _signals._here.get() == _signals._everywhere == ()


def test_undone_by_another_thread(four):
    scope = suspend_signals(this_thread=True)
    scope.__enter__()
    in_thread(scope.__exit__, None, None, None)
    assert sent(four[0]) == [1, 2]


def test_a_send_under_way_loses_nobody(signal):
    """A send that has begun calls all it would have called."""
    inside, go_on = threading.Event(), threading.Event()

    def slow(sender, **kwargs):
        inside.set()
        return go_on.wait(20)
    signal.connect(slow)
    signal.connect(first)
    got = []
    thread = threading.Thread(target=lambda: got.append(sent(signal)))
    thread.start()
    assert inside.wait(20)
    with suspend_signals():
        assert sent(signal) == []
        go_on.set()
        thread.join(20)
    assert got == [[True, 1]]
    assert sent(signal) == [True, 1]


def test_threads_that_suspend_and_send(four):
    """Whoever suspends nothing that fits is never short of a receiver."""
    wrong = []
    barrier = threading.Barrier(4)

    def suspends():
        barrier.wait(20)
        for _ in range(300):
            with suspend_signals(receiver=second), suspend_signals(
                    this_thread=True):
                if sent(four[0]) or sent(four[1]):
                    wrong.append("called")

    def sends():
        barrier.wait(20)
        for _ in range(300):
            for signal in four:
                if sent(signal) not in ([1], [1, 2]):
                    wrong.append("lost")
    threads = [threading.Thread(target=target)
               for target in (suspends, suspends, sends, sends)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert wrong == []
    assert sent(four[0]) == sent(four[1]) == [1, 2]


# suspend_signals: what it decorates

def test_functions(four):
    @suspend_signals()
    def suspended(value):
        return value, sent(four[0])

    @suspend_signals
    def bare():
        return sent(four[0])
    assert suspended(3) == (3, [])
    assert bare() == []
    assert sent(four[0]) == [1, 2]


def test_async_functions(four):
    @suspend_signals(receiver=first, this_thread=True)
    async def suspended():
        await asyncio.sleep(0)
        return sent(four[0]), await sync_to_async(sent)(four[0])

    async def both():
        return await asyncio.gather(suspended(), elsewhere())

    async def elsewhere():
        await asyncio.sleep(0)
        return sent(four[0])
    assert inspect.iscoroutinefunction(suspended)
    assert asyncio.run(both()) == [([2], [2]), [1, 2]]
    assert async_to_sync(suspended)() == ([2], [2])
    assert sent(four[0]) == [1, 2]


def test_generators(four):
    @suspend_signals()
    def steps():
        yield sent(four[0])
        yield sent(four[0])
    assert list(steps()) == [[], []]
    started = steps()
    next(started)
    assert sent(four[0]) == []
    started.close()
    assert sent(four[0]) == [1, 2]


def test_async_generators(four):
    @suspend_signals()
    async def steps():
        yield sent(four[0])

    async def run():
        return [step async for step in steps()]
    assert asyncio.run(run()) == [[]]
    assert sent(four[0]) == [1, 2]


@pytest.mark.skipif(not HAS_ASYNC_SIGNALS, reason="since Django 5.0")
def test_async_sends(signal):
    async def third(sender, **kwargs):
        return 3
    signal.connect(first)
    signal.connect(third)

    async def responses(send):
        return [response for _, response in await send(None)]

    for send in (signal.asend, signal.asend_robust):
        assert asyncio.run(responses(send)) == [1, 3]
        with suspend_signals(receiver=third):
            assert asyncio.run(responses(send)) == [1]
        with suspend_signals(receiver=first):
            assert asyncio.run(responses(send)) == [3]
        with suspend_signals(signal):
            assert asyncio.run(responses(send)) == []
            assert not signal.has_listeners()


class Everywhere(TestCase):
    """What is decorated is silent wherever unittest runs code of it."""

    @suspend_signals(post_save)
    class Decorated(TestCase):
        seen = []

        @classmethod
        def setUpClass(cls):
            super().setUpClass()
            cls.save("setUpClass")

        @classmethod
        def setUpTestData(cls):
            cls.save("setUpTestData")

        def setUp(self):
            self.addCleanup(self.save, "cleanup")
            self.save("setUp")

        def tearDown(self):
            self.save("tearDown")

        @classmethod
        def tearDownClass(cls):
            cls.save("tearDownClass")
            super().tearDownClass()

        @classmethod
        def save(cls, name):
            cls.seen.append(name)
            post_save.send(Entry, instance=Entry(name=name), created=True)
            pre_save.send(Entry, instance=Entry(name=name))

        def test(self):
            self.save("test")

    @suspend_signals(pre_save)
    class Derived(Decorated):
        seen = []

        def test_more(self):
            self.save("more")

    class FailsInSetUpClass(Decorated):
        seen = []

        @classmethod
        def setUpClass(cls):
            raise ZeroDivisionError

    def setUp(self):
        pre_save.connect(self.before, sender=Entry)
        self.addCleanup(pre_save.disconnect, self.before, sender=Entry)

    @staticmethod
    def before(sender, instance, **kwargs):
        CALLED.append(f"before {instance.name}")

    def run_case(self, case):
        result = unittest.TestResult()
        unittest.TestLoader().loadTestsFromTestCase(case).run(result)
        called = CALLED[:]
        del CALLED[:]
        self.Decorated.save("afterwards")
        assert CALLED == ["afterwards", "before afterwards"]
        return result, called

    def test_decorated(self):
        seen = ["setUpTestData", "setUpClass", "setUp", "test", "tearDown",
                "cleanup", "tearDownClass"]
        result, called = self.run_case(self.Decorated)
        assert result.wasSuccessful(), result.errors
        assert self.Decorated.seen[:len(seen)] == seen
        assert called == [f"before {name}" for name in seen]

    def test_derived(self):
        result, called = self.run_case(self.Derived)
        assert result.wasSuccessful(), result.errors
        assert {"test", "more", "setUpTestData"} <= set(self.Derived.seen)
        assert called == []

    def test_set_up_class_fails(self):
        result, called = self.run_case(self.FailsInSetUpClass)
        assert "ZeroDivisionError" in result.errors[0][1]


@suspend_signals(receiver=entry_saved)
class WithoutDatabase(SimpleTestCase):
    def test_silent(self):
        post_save.send(Entry, instance=Entry(name="silent"), created=True)
        assert CALLED == []


@suspend_signals(receiver=entry_saved)
class TestOfPytest:
    def setup_class(cls):
        post_save.send(Entry, instance=Entry(name="silent"), created=True)

    def setup_method(self, method):
        self.name = method.__name__
        post_save.send(Entry, instance=Entry(name="silent"), created=True)

    @pytest.mark.parametrize("number", [1, 2])
    def test_method(self, number):
        post_save.send(Entry, instance=Entry(name="silent"), created=True)
        assert CALLED == []
        assert self.name == "test_method"


@pytest.mark.django_db
def test_on_models():
    with suspend_signals(post_save, sender=Entry):
        entry = Entry.objects.create(name="silent")
    entry.name = "loud"
    entry.save()
    assert CALLED == ["loud"]


@pytest.mark.django_db
def test_deleted_without_listeners(django_assert_num_queries):
    """Django asks whether anybody listens, to delete without a SELECT."""
    pre_delete.connect(first, sender=Line)
    post_delete.connect(second, sender=Line)
    try:
        entry = Entry.objects.create(name="parent")
        Line.objects.create(entry=entry)
        with suspend_signals(sender=Line):
            Line.objects.all().delete()
        assert CALLED == ["parent"]
    finally:
        pre_delete.disconnect(first, sender=Line)
        post_delete.disconnect(second, sender=Line)


# Misuse

def test_misuse(signal):
    with pytest.raises(UsageError, match="sender=Entry"):
        suspend_signals(Entry)
    with pytest.raises(UsageError, match="is not a signal"):
        suspend_signals(signal, Entry)
    with pytest.raises(UsageError, match="is not a signal"):
        suspend_signals("post_save")
    with pytest.raises(UsageError, match="is no receiver"):
        suspend_signals(receiver=3)
    with pytest.raises(UsageError, match="'ledger.Nope' would silence noth"):
        suspend_signals(sender="ledger.Nope").__enter__()
    with suspend_signals(sender="Nobody's.label"):
        pass
    with pytest.raises(TypeError, match="test classes"):
        suspend_signals(signal)(3)
