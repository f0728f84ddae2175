"""The files of the stack agree with each other, loosen nothing, and are understood by both versions of Compose."""

from __future__ import annotations

import re
from typing import Any

import pytest
import yaml

from tests.operations.gating import OPERATIONS

STACK = OPERATIONS / "compose"
COMPOSE: dict[str, Any] = yaml.safe_load((STACK / "compose.yaml").read_text(encoding="utf-8"))
SERVICES: dict[str, Any] = COMPOSE["services"]
HAPROXY = (STACK / "haproxy.cfg").read_text(encoding="utf-8")
EXAMPLE: dict[str, Any] = yaml.safe_load((OPERATIONS.parent / "docker" / "compose.yaml").read_text(encoding="utf-8"))


def seconds(text: str) -> float:
    """Return the seconds of 40s, of 500ms, or of the default in ${NAME:-3}."""
    found = re.search(r"(\d+)(ms|s|)\}?$", text)
    assert found is not None
    return int(found[1]) / (1000 if found[2] == "ms" else 1)


def test_replicas_and_canary_are_one_service_as_hardened_as_the_example() -> None:
    (example,) = EXAMPLE["services"].values()
    assert SERVICES["replica-1"] == SERVICES["replica-2"]
    assert SERVICES["canary"] == {**SERVICES["replica-1"], "profiles": ["canary"]}
    loose = {"image", "environment", "stop_grace_period"}  # what differs: the release, and how it stops
    assert {name: SERVICES["replica-1"][name] for name in example if name not in loose} == {
        name: example[name] for name in example if name not in loose
    }
    assert SERVICES["replica-1"].keys() == example.keys()


def test_the_proxy_has_no_privileges_and_only_the_service_can_be_opened_to_others() -> None:
    proxy = SERVICES["proxy"]
    assert proxy["read_only"] is True
    assert proxy["cap_drop"] == ["ALL"]
    assert proxy["security_opt"] == ["no-new-privileges:true"]
    assert all(volume.endswith(":ro") for volume in proxy["volumes"])
    service, *single = proxy["ports"]
    assert service == "${SQL_GENERATOR_LISTEN:-127.0.0.1:8020}:8020"
    assert all(port.startswith("127.0.0.1:") for port in single)
    assert COMPOSE["networks"]["services"] == {"internal": True}
    assert all("outside" not in SERVICES[name]["networks"] for name in SERVICES if name != "proxy")


def test_a_replica_stops_after_the_proxy_has_noticed_and_before_the_engine_kills_it() -> None:
    found = re.search(r"check inter (\w+) fall (\d+)", HAPROXY)
    slow = re.search(r"timeout check (\w+)", HAPROXY)
    assert found is not None
    assert slow is not None
    # So long may each answer of a busy replica take, and that of a check which had begun before.
    noticed = seconds(slow[1]) + int(found[2]) * (seconds(found[1]) + seconds(slow[1]))
    replica = SERVICES["replica-1"]
    drain, stop = (seconds(replica["environment"][f"SERVICE_{name}_SECONDS"]) for name in ("DRAIN", "STOP"))
    assert noticed < drain
    assert drain + stop < seconds(replica["stop_grace_period"])


def test_the_script_knows_the_defaults_of_the_stack() -> None:
    script = (STACK / "roll-out.sh").read_text(encoding="utf-8")
    known = dict(re.findall(r"\$\(value (\w+) (\w+)\)", script))
    replica = SERVICES["replica-1"]
    names = ("SERVICE_DRAIN_SECONDS", "SERVICE_STOP_SECONDS")
    of_the_stack = {
        **{name: replica["environment"][name] for name in names},
        "STOP_GRACE": replica["stop_grace_period"],
    }
    assert {f"${{{name}:-{default}}}" for name, default in known.items()} == set(of_the_stack.values())
    assert known.keys() == of_the_stack.keys()


def test_the_proxy_has_room_for_its_threads_on_a_machine_with_many_cores() -> None:
    (threads,) = re.findall(r"^    nbthread (\d+)$", HAPROXY, flags=re.MULTILINE)
    assert int(threads) + 1 < SERVICES["proxy"]["pids_limit"]


def test_no_request_is_sent_twice() -> None:
    assert "option redispatch" in HAPROXY
    assert "retry-on" not in HAPROXY  # by default after a refused connection alone


@pytest.mark.parametrize(("name", "port"), [("replica-1", 8021), ("replica-2", 8022), ("canary", 8029)])
def test_each_instance_has_a_port_of_its_own(name: str, port: int) -> None:
    assert re.search(rf"^listen {name}\n    bind :{port}$", HAPROXY, flags=re.MULTILINE)
    assert any(published.endswith(f":{port}") for published in SERVICES["proxy"]["ports"])


def test_only_replicas_get_traffic() -> None:
    traffic = HAPROXY.partition("backend replicas")[2].partition("listen ")[0]
    assert re.findall(r"^    server (\S+) (\S+)$", traffic, flags=re.MULTILINE) == [
        ("replica-1", "replica-1:8020"),
        ("replica-2", "replica-2:8020"),
    ]


def test_both_versions_of_compose_know_every_key() -> None:
    """Compose 1 refuses what came later, such as start_interval, include, or pull_policy: build."""
    assert set(COMPOSE) == {"x-replica", "services", "networks"}
    later = {"develop", "models", "post_start", "pre_stop", "provider", "gpus", "use_api_socket", "attach"}
    for service in SERVICES.values():
        assert not later & set(service)
        assert "start_interval" not in service.get("healthcheck", {})
