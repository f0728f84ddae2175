"""The two sides of the switch: what goes in, what comes out, and what a child of fork does with them."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import threading
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from tests.support.hosted import IDENTITY, REMOTE, Client, choose
from thoth_models import (
    EnvironmentFault,
    InvalidInputError,
    ManagerConfig,
)
from thoth_models.switching import Hosted
from thoth_models.switching.sides import HostedProvider

if TYPE_CHECKING:
    from pathlib import Path


def test_the_hosted_side_answers_in_the_same_shapes(hosted: Hosted, config: ManagerConfig, client: Client) -> None:
    chosen = choose(hosted, config, REMOTE)
    vectors = chosen.encode(["a", "bbb"])
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(vectors * np.sqrt([[15], [23]]), [[1, 1, 2, 3], [3, 1, 2, 3]], rtol=1e-6)
    assert chosen.encode("a").shape == (4,)
    assert chosen.encode(text for text in ("a",)).shape == (1, 4)
    assert asyncio.run(chosen.aencode(["a", "b"])).shape == (2, 4)
    assert client.asked == [["a", "bbb"], ["a"], ["a"], ["a", "b"]]
    assert chosen.encode([]).shape == asyncio.run(chosen.aencode(())).shape == (0, 4)
    assert len(client.asked) == 4  # nobody is asked for nothing
    assert (chosen.manager, chosen.dimension, client.made) == (None, 4, 1)
    chosen.warm_up()


def test_hosted_vectors_have_length_1_unless_told_otherwise(config: ManagerConfig, client: Client) -> None:
    """Thresholds of dot products mean cosines on both sides."""
    client.answer = np.array([[3.0, 4.0, 0.0, 0.0], [1e30, 1e30, 0.0, 0.0]], dtype=np.float32)
    scaled = choose(Hosted(make=client.make, identity=IDENTITY, dimension=4), config, REMOTE)
    np.testing.assert_allclose(scaled.encode(["a", "b"]), [[0.6, 0.8, 0, 0], [0.5**0.5, 0.5**0.5, 0, 0]], rtol=1e-6)
    raw = choose(Hosted(make=client.make, identity=IDENTITY, dimension=4, normalize=False), config, REMOTE)
    vectors = raw.encode(["a", "b"])
    np.testing.assert_array_equal(vectors, client.answer)
    client.answer[:] = 7  # a provider that uses its memory again
    assert vectors[0, 0] == 3


def test_a_child_of_fork_makes_a_client_of_its_own(hosted: Hosted, config: ManagerConfig, client: Client) -> None:
    """Connections cannot be shared, and a lock that another thread of the parent held is held for ever."""
    chosen = choose(hosted, config, REMOTE)
    assert isinstance(chosen._side, HostedProvider)
    lock, held, done = chosen._side._lock, threading.Event(), threading.Event()

    def hold() -> None:
        with lock:
            held.set()
            done.wait(60)

    holding = threading.Thread(target=hold)
    holding.start()
    held.wait(60)
    child = os.fork()
    if child == 0:
        signal.alarm(30)
        made = 0
        with contextlib.suppress(Exception):
            chosen.encode("a")
            made = client.made
        os._exit(0 if made == 2 else 1)
    status = os.waitpid(child, 0)[1]
    done.set()
    holding.join()
    assert (status, client.made) == (0, 1)


def test_the_hosted_side_needs_no_bundle(hosted: Hosted, tmp_path: Path) -> None:
    assert choose(hosted, ManagerConfig(root=tmp_path / "none"), REMOTE).encode(["a"]).shape == (1, 4)


@pytest.mark.hostile
@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ([[1.0, 2.0, 3.0, 4.0]], r"expected vectors of shape \(2, 4\), found \(1, 4\)"),
        ([[1.0, 2.0]] * 2, r"expected vectors of shape \(2, 4\), found \(2, 2\)"),
        ([1.0] * 8, r"expected vectors of shape \(2, 4\), found \(8,\)"),
        ([[1.0], [1.0, 2.0]], r"expected vectors of shape \(2, 4\), found setting an array element"),
        ([None, None], r"expected vectors of shape \(2, 4\), found"),
        ([["a"] * 4] * 2, r"expected vectors of shape \(2, 4\), found could not convert"),
        ([[1.0, 2.0, 3.0, float("nan")]] * 2, "expected finite numbers, found others"),
        ([[0.0] * 4, [1.0] * 4], "expected vectors that have a direction, found one of zeros"),
    ],
)
def test_vectors_of_a_hosted_provider_that_are_none_are_refused(
    hosted: Hosted, config: ManagerConfig, client: Client, answer: Any, message: str
) -> None:
    chosen = choose(hosted, config, REMOTE)
    client.answer = answer
    with pytest.raises(EnvironmentFault, match=f"{IDENTITY}: {message}"):
        chosen.encode(["a", "b"])
    with pytest.raises(EnvironmentFault, match=message):
        asyncio.run(chosen.aencode(["a", "b"]))
    assert chosen.stats().failures == 2


def test_what_the_hosted_side_raises_is_handed_through(hosted: Hosted, config: ManagerConfig, client: Client) -> None:
    chosen = choose(hosted, config, REMOTE)
    client.answer = ConnectionResetError("gone")
    with pytest.raises(ConnectionResetError, match="gone"):
        chosen.encode(["a"])


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (["a", None], r"texts\[1\]: expected a str, found NoneType"),
        (None, "texts: expected a str or an iterable of str, found NoneType"),
        (b"a", "texts: expected a str or an iterable of str, found bytes"),
        ({"a": 1}, "texts: expected a str or an iterable of str, found dict"),
    ],
)
def test_inputs_of_the_hosted_side_are_checked(
    hosted: Hosted, config: ManagerConfig, client: Client, texts: Any, message: str
) -> None:
    with pytest.raises(InvalidInputError, match=message):
        choose(hosted, config, REMOTE).encode(texts)
    assert client.asked == []


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"make": None}, "make: expected a function without arguments, found NoneType"),
        ({"identity": ""}, "identity: expected a name that no local space can have, found ''"),
        ({"identity": None}, "identity: expected a name"),
        ({"identity": "a" * 64}, "identity: expected a name"),
        ({"dimension": 0}, "dimension: expected an integer of at least 1, found 0"),
        ({"dimension": True}, "dimension: expected an integer of at least 1, found True"),
        ({"dimension": "4"}, "dimension: expected an integer of at least 1, found '4'"),
    ],
)
def test_a_hosted_side_that_cannot_be_is_refused(client: Client, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        Hosted(**{"make": client.make, "identity": IDENTITY, "dimension": 4, **changes})
