# SPDX-License-Identifier: Apache-2.0
"""Static files under names that hold a hash of their contents.

Which name a file has is told by a manifest. Django keeps it among the collected
files, where a test has none: "Missing staticfiles manifest entry". Here it is a
file of the project directory, and is committed with the files it names.

A deployment writes the manifest while requests read it."""

import json
import os

from django.conf import settings
from django.contrib.staticfiles.storage import ManifestStaticFilesStorage

import sqloom


class ProjectManifestStorage(ManifestStaticFilesStorage):
    """Fixed: the new manifest takes the place of the old one in one step."""

    def read_manifest(self):
        try:
            return settings.STATIC_MANIFEST.read_text()
        except FileNotFoundError:
            return None

    def save_manifest(self):
        path = settings.STATIC_MANIFEST
        new = path.with_name(path.name + ".new")
        new.write_text(self.manifest())
        sqloom.point("the new manifest is written")
        os.replace(new, path)

    def manifest(self):
        names = {"version": "1.0", "paths": self.hashed_files}
        return json.dumps(names, indent=2, sort_keys=True) + "\n"


class BrokenManifestStorage(ProjectManifestStorage):
    """BROKEN: for a moment the manifest is empty."""

    def save_manifest(self):
        with open(settings.STATIC_MANIFEST, "w", encoding="utf-8") as file:
            sqloom.point("the manifest is empty")
            file.write(self.manifest())
