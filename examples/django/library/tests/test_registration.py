# SPDX-License-Identifier: Apache-2.0
"""A button that toggles a registration is clicked twice."""

from sqloom import assert_race_free, explore
from sqloom.django import CommittingTestCase

from library.models import Event, Member
from library.registration import toggle, toggle_broken


class RegistrationTests(CommittingTestCase):
    def setUp(self):
        self.member = Member.objects.create(name="Ann").pk
        self.event = Event.objects.create(title="Reading").pk

    def test_broken(self):
        click = (toggle_broken, self.member, self.event)
        report = explore([click, click])
        self.assertFalse(report.holds)
        self.assertIn("contents that no serial run leaves", report.text)

    def test_fixed(self):
        click = (toggle, self.member, self.event)
        report = assert_race_free([click, click])
        self.assertEqual(report.explored, report.total)
