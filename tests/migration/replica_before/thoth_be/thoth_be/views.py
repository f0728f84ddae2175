"""The HTTP interface."""

import json
import threading

from django.http import HttpRequest, JsonResponse
from django.views.decorators.csrf import csrf_exempt

from thoth_be import index


def health(_request: HttpRequest) -> JsonResponse:
    """Tell that the process lives."""
    return JsonResponse({"status": "healthy"})


@csrf_exempt
def documents(request: HttpRequest) -> JsonResponse:
    """Count the documents, or add some in the background."""
    if request.method == "POST":
        texts = json.loads(request.body)["texts"]
        threading.Thread(target=index.add, args=(texts,)).start()
        return JsonResponse({"accepted": len(texts)}, status=202)
    return JsonResponse({"count": index.count()})


@csrf_exempt
def search(request: HttpRequest) -> JsonResponse:
    """Return the documents that are similar to a query."""
    asked = json.loads(request.body)
    found = index.find(asked["query"], asked.get("threshold", 0.45), asked.get("limit", 10))
    return JsonResponse({"found": found})
