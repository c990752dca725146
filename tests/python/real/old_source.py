# SPDX-License-Identifier: Apache-2.0
"""Lets Python import a package that is older than it. What is replaced is
outside of what the cases are about."""

import importlib.machinery
import importlib.util
import re
import sys


class Loader(importlib.machinery.SourceFileLoader):
    replaced: dict = {}

    def get_code(self, fullname):
        path = self.get_filename(fullname)
        return self.source_to_code(self.get_data(path), path)

    def source_to_code(self, data, path, **options):
        text = importlib.util.decode_source(data)
        for pattern, by in self.replaced.items():
            text = re.sub(pattern, by, text)
        return super().source_to_code(text, path, **options)


class Finder(importlib.machinery.PathFinder):
    package = ""

    @classmethod
    def find_spec(cls, fullname, path=None, target=None):
        """Only of the package, which also imports its modules by their short
        names."""
        spec = super().find_spec(fullname, path, target)
        if not spec or not isinstance(
                spec.loader, importlib.machinery.SourceFileLoader):
            return None
        if cls.package not in spec.origin.split("/"):
            return None
        spec.loader = Loader(fullname, spec.origin)
        return spec


def read_as(package, replaced):
    """Modules of the package are read with these patterns replaced."""
    Finder.package = package
    Loader.replaced = replaced
    sys.meta_path.insert(0, Finder)
