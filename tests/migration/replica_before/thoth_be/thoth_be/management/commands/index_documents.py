"""``manage.py index_documents``: make the index anew."""

from django.core.management.base import BaseCommand

from thoth_be import index
from thoth_be.documents import DOCUMENTS


class Command(BaseCommand):
    """Encode all documents that the service comes with."""

    help = "Make the index anew, from the documents that the service comes with."

    def handle(self, *_arguments: object, **_options: object) -> None:
        """Do it."""
        index.clear()
        index.add(DOCUMENTS)
        self.stdout.write(f"{index.count()} documents")
