from __future__ import annotations

from importlib.util import find_spec

from hypothesis import HealthCheck, settings

# No example is judged by its duration: the machines that run these tests are shared.
settings.register_profile("thoth", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("thoth")

# The runtime is tested alone as well, where there is no builder to import.
_OF_THE_BUILDER = [
    "test_any_small_file.py",
    "test_edit_keeps_bytes.py",
    "test_licence_matching.py",
    "test_lock_roundtrip.py",
]
collect_ignore = [] if find_spec("thoth_models_builder") else _OF_THE_BUILDER
