"""The addresses of the interface."""

from django.urls import path

from thoth_ai_backend import views

urlpatterns = [
    path("admin/login/", views.login),
    path("api/workspace/id/<int:workspace_id>", views.workspace),
    path("api/sqldb/<str:db_name>/tables/", views.tables),
    path("preprocessing/<int:workspace_id>", views.preprocessing),
    path("columns/<int:workspace_id>", views.columns),
]
