"""Runs the commands of the service."""

import os
import sys

from django.core.management import execute_from_command_line

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "thoth_be.settings")
execute_from_command_line(sys.argv)
