# SPDX-License-Identifier: Apache-2.0
"""Static files whose manifest lives in the project directory."""

import json
import tempfile
from pathlib import Path

from django.conf import settings
from django.contrib.staticfiles.storage import ManifestStaticFilesStorage
from django.core.management import call_command
from django.test import TestCase, override_settings
from sqloom import assert_race_free, call_concurrently, explore, point
from sqloom.django import CommittingTestCase

from project.storage import BrokenManifestStorage, ProjectManifestStorage

CSS = "shop/shop.css"


def url():
    """Of the style sheet, as a process finds it that has just started."""
    return ProjectManifestStorage().url(CSS)


class PageTests(TestCase):
    def test_broken(self):
        """Where Django keeps the manifest there is none in a test."""
        with self.assertRaisesMessage(ValueError, "Missing staticfiles"):
            ManifestStaticFilesStorage().url(CSS)

    def test_fixed(self):
        self.assertContains(self.client.get("/"), url())

    def test_the_manifest_is_up_to_date(self):
        """As committed, it is what collectstatic writes."""
        with tempfile.TemporaryDirectory() as directory:
            manifest = Path(directory) / "staticfiles.json"
            with override_settings(STATIC_ROOT=directory,
                                   STATIC_MANIFEST=manifest):
                call_command("collectstatic", verbosity=0, interactive=False)
            self.assertEqual(manifest.read_text(),
                             settings.STATIC_MANIFEST.read_text())


class DeploymentTests(CommittingTestCase):
    """A deployment writes the manifest while a request reads it."""

    def setUp(self):
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.manifest = Path(directory.name) / "staticfiles.json"
        override = override_settings(STATIC_MANIFEST=self.manifest)
        override.enable()
        self.addCleanup(override.disable)
        self.put_back()

    def put_back(self):
        """Behind each run: files are not put back, as the database is."""
        paths = {CSS: "shop/shop.old.css"}
        self.manifest.write_text(json.dumps({"version": "1.0",
                                             "paths": paths}))

    def deploy(self, storage_class):
        storage = storage_class()
        storage.hashed_files = {CSS: "shop/shop.new.css"}
        storage.save_manifest()

    def request(self):
        point("the request reads the manifest")
        return url()

    def test_broken(self):
        report = explore([(self.deploy, BrokenManifestStorage), self.request],
                         self.put_back, names=["deploy", "request"])
        self.assertFalse(report.holds)
        self.assertIn("ValueError", report.text)

    def test_fixed(self):
        report = assert_race_free(
            [(self.deploy, ProjectManifestStorage), self.request],
            self.put_back, names=["deploy", "request"])
        self.assertEqual(report.explored, report.total)

    def test_clean_processes_see_it(self):
        """Settings that a test overrides are carried along."""
        self.assertEqual(call_concurrently(3, url),
                         ["/static/shop/shop.old.css"] * 3)
