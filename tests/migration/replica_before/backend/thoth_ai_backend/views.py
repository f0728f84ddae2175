"""The HTTP interface."""

import threading
from dataclasses import asdict

from django.conf import settings
from django.http import HttpResponse, JsonResponse
from django.views.decorators.csrf import csrf_exempt

from thoth_ai_backend.async_tasks import run_preprocessing_task
from thoth_ai_backend.backend_utils.vector_store_utils import get_vector_store
from thoth_ai_backend.preprocessing.db_context.search import query_vector_db
from thoth_ai_backend.schema import COLUMNS
from thoth_core.models import Workspace


def login(_request):
    """Answer that the process lives."""
    return HttpResponse("login")


def workspace(request, workspace_id):
    """Return what sql_generator needs to know of a workspace."""
    if request.headers.get("X-API-KEY") != settings.API_KEY:
        return HttpResponse(status=401)
    return JsonResponse(asdict(Workspace.objects.get(id=workspace_id)))


def tables(_request, db_name):
    """Return the columns of a database by table."""
    return JsonResponse(COLUMNS)


@csrf_exempt
def preprocessing(request, workspace_id):
    """Write the columns again in a thread of this worker."""
    threading.Thread(target=run_preprocessing_task, args=(workspace_id,)).start()
    return JsonResponse({}, status=202)


def columns(request, workspace_id):
    """Return the columns that are near to a query, best first."""
    found = query_vector_db(get_vector_store(request), request.GET["query"], 5)
    return JsonResponse({"found": [f"{one.table_name}.{one.original_column_name}" for one in found]})
