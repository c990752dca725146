# SPDX-License-Identifier: Apache-2.0
"""What every project of Django has."""

import sys

from django.core.management import execute_from_command_line

execute_from_command_line(sys.argv)
