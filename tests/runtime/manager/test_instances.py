"""One thing per process and setting, whoever asks."""

from __future__ import annotations

import threading

from thoth_models.manager.instances import Instances

SECONDS = 30.0


class Thing:
    def __init__(self, key: str) -> None:
        self.key = key
        self.is_usable = True


def test_each_is_made_once_and_one_that_is_of_no_use_any_more_is_replaced() -> None:
    instances = Instances(Thing, lambda thing: thing.is_usable)
    first = instances.get("a")
    assert instances.get("a") is first
    assert instances.get("b") is not first
    first.is_usable = False
    second = instances.get("a")
    assert second is not first
    assert second is instances.get("a")


def test_a_signal_handler_that_asks_while_its_thread_makes_one_gets_the_same() -> None:
    found: list[Thing] = []

    def make(key: str) -> Thing:
        if not found:
            found.append(Thing("none"))  # the handler's call makes its own
            found.append(instances.get(key))
        return Thing(key)

    instances: Instances[str, Thing] = Instances(make, lambda thing: thing.is_usable)
    assert instances.get("a") is found[1]
    assert instances.get("a") is found[1]


def test_a_child_does_not_wait_for_a_thread_of_its_parent() -> None:
    """What a fork does to it in the child, done in this process."""
    instances = Instances(Thing, lambda thing: thing.is_usable)
    first = instances.get("a")
    held, leave = threading.Event(), threading.Event()

    def hold() -> None:
        with instances._lock:
            held.set()
            leave.wait(SECONDS)

    holder = threading.Thread(target=hold)
    holder.start()
    held.wait(SECONDS)
    instances.after_fork_in_child()
    assert instances.get("a") is first
    leave.set()
    holder.join(SECONDS)
