# SPDX-License-Identifier: Apache-2.0
"""Schedules per second through Django's ORM, against the same two calls made
one after the other in a loop, with the same restore after each pair."""

from common import heading, line, median, ROUNDS, seconds, test_database

TARGET = 1.5
SERIAL = 200
RUNS = 1000


def workloads(row):
    """Two calls of three get+save pairs each, of rows of their own or of the
    same row."""

    def calls(first, second):
        def change(pk):
            for _ in range(3):
                found = row.objects.get(pk=pk)
                found.count += 1
                found.save()

        return [(change, first), (change, second)]

    one = row.objects.create(name="one")
    other = row.objects.create(name="other")
    return {"2 x 3 get+save, rows of their own": calls(one.pk, other.pk),
            "2 x 3 get+save, the same row": calls(one.pk, one.pk)}


def serial(calls, restore):
    for _ in range(SERIAL):
        for function, pk in calls:
            function(pk)
        restore()


def main():
    import sqloom
    from rows.models import MODELS
    from sqloom.django import _fixtures

    made = workloads(MODELS[0])
    heading("schedules through the ORM", "ms/schedule, time <= 1.5")
    for name, calls in made.items():
        ours, theirs, reports = [], [], []
        for _ in range(ROUNDS):
            def explore():
                reports.append(sqloom.explore(calls, max_runs=RUNS))

            time = seconds(explore)
            ours.append(time / reports[-1].explored)
            led = _fixtures.keep("default")
            led.lead()
            try:
                led.kept.restore()
                theirs.append(
                    seconds(serial, calls, led.kept.restore) / SERIAL)
            finally:
                led.unlead()
        ratio = median(ours) / median(theirs)
        line(f"{name} : serial loop", 1e3 * median(ours),
             1e3 * median(theirs), ratio, f"<= {TARGET}", ratio <= TARGET)
        report = reports[-1]
        print(f"    {1 / median(ours):.0f} schedules/s; {report.explored} were "
              f"run of {report.total or 'more'}; {report.verdict}", flush=True)
    _fixtures.close_all()
    print(flush=True)


with test_database():
    main()
