from __future__ import annotations

from hypothesis import HealthCheck, settings

# No example is judged by its duration: the machines that run these tests are shared.
settings.register_profile("thoth", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("thoth")
