# SPDX-License-Identifier: Apache-2.0
from django.db import IntegrityError, connection, transaction
from django.db.models import Count, F
from django.http import HttpResponse, JsonResponse

from .models import Coupon, Redemption


def health(request):
    return HttpResponse("ok")


def use(coupon):
    if coupon.used:
        return HttpResponse("used\n", status=409)
    coupon.used = True
    coupon.save()
    Redemption.objects.create(coupon=coupon)
    return HttpResponse("redeemed\n")


@transaction.atomic
def redeem(request):
    return use(Coupon.objects.get(code=request.POST["code"]))


@transaction.atomic
def redeem_locked(request):
    return use(Coupon.objects.select_for_update().get(
        code=request.POST["code"]))


def exercise(request):
    """Something of each kind of query that Django makes."""
    seen = []
    coupons = Coupon.objects.bulk_create(
        Coupon(code=f"C{number}") for number in range(300))
    seen.append(len(coupons))
    seen.append(Coupon.objects.get_or_create(code="C7")[1])
    seen.append(Coupon.objects.update_or_create(
        code="C8", defaults={"used": True})[1])
    with transaction.atomic():
        for coupon in coupons[:3]:
            Redemption.objects.create(coupon=coupon,
                                      details={"by": [coupon.code, None]})
        try:
            with transaction.atomic():
                Coupon.objects.create(code="C1")
        except IntegrityError as error:
            seen.append(type(error).__name__)
        transaction.on_commit(lambda: seen.append("committed"))
    # By a cursor of the server.
    seen.append(sum(coupon.id % 7
                    for coupon in Coupon.objects.iterator(chunk_size=50)))
    seen.append(list(Coupon.objects.filter(code__lt="C11").annotate(
        n=Count("redemption")).order_by("code").values_list("code", "n")))
    seen.append([redemption.coupon.code for redemption in
                 Redemption.objects.select_related("coupon").order_by("id")])
    seen.append(Redemption.objects.filter(details__by__0="C1").count())
    seen.append(Coupon.objects.filter(code="C9").update(used=True,
                                                        code=F("code")))
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*), %s::text", ["x"])
        seen.append(cursor.fetchall())
    request.session["visits"] = request.session.get("visits", 0) + 1
    request.session.save()
    seen.append(request.session["visits"])
    seen.append(Coupon.objects.filter(code__startswith="C").delete()[0])
    return JsonResponse(seen, safe=False)
