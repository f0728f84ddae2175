"""The addresses of the service."""

from django.urls import path

from thoth_be import views

urlpatterns = [
    path("health", views.health),
    path("api/documents", views.documents),
    path("api/search", views.search),
]
