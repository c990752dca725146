# SPDX-License-Identifier: Apache-2.0
"""Two translators add the same words; unique_together refuses the second."""

from sqloom import assert_race_free, explore
from sqloom.django import CommittingTestCase

from library.models import Translation
from library.translations import translate, translate_broken


class TranslationTests(CommittingTestCase):
    def setUp(self):
        Translation.objects.create(text="bye", language="fr", words="salut")

    def test_broken(self):
        report = explore([
            (translate_broken, "hello", "fr", "salut"),
            (translate_broken, "hello", "fr", "bonjour"),
        ])
        self.assertFalse(report.holds)
        self.assertIn("TransactionManagementError", report.text)

    def test_fixed(self):
        report = assert_race_free([
            (translate, "hello", "fr", "salut"),
            (translate, "hello", "fr", "bonjour"),
        ])
        self.assertEqual(report.explored, report.total)
