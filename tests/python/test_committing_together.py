import pytest, sqloom
from sqloom.django import CommittingTestCase
from django.db import connection, connections, transaction
from shop.models import Account, Coupon
def deposit(pk):
    a=Account.objects.get(pk=pk); a.balance+=10; a.save()
def count():
    return Account.objects.count()
class Explored(CommittingTestCase):
    def setUp(self):
        self.a=Account.objects.create(name="a",balance=0)
    def check(self):
        report=sqloom.explore([(deposit,self.a.pk),(deposit,self.a.pk)])
        assert not report.holds, report
        self.a.refresh_from_db(); assert self.a.balance==0
        Account.objects.create(name="b")
        report=sqloom.explore([(deposit,self.a.pk),(deposit,self.a.pk)])
        assert not report.holds, report
        assert Account.objects.count()==2
        assert list(Coupon.objects.values_list("code",flat=True))==["WELCOME"]
    def test_1(self): self.check()
    def test_2(self): self.check()
class Concurrent(CommittingTestCase):
    def setUp(self):
        self.a=Account.objects.create(name="a",balance=0)
    def check(self):
        from sqloom import call_concurrently
        assert call_concurrently(3,count)==[1,1,1]
        call_concurrently(1,deposit,self.a.pk)
        self.a.refresh_from_db(); assert self.a.balance==10
        Account.objects.create(name="n")
        assert call_concurrently(2,count)==[2,2]
    def test_1(self): self.check()
    def test_2(self): self.check()
class ConcurrentFile(Concurrent):
    processes=True
