"""Registries are asked without the credentials of the person who runs the tests."""

from tests.support.docker_configuration import _no_docker_configuration

__all__ = ["_no_docker_configuration"]
