"""The switch between local and hosted embeddings, over invented models and a hosted side of the test's own."""

from __future__ import annotations

import asyncio
import copy
import json
import logging
import pickle
import threading
from typing import TYPE_CHECKING

import numpy as np
import pytest

from tests.support.hosted import IDENTITY, LOCAL, REMOTE, Client, choose
from thoth_models import (
    EmbeddingManager,
    EnvironmentFault,
    FallbackWarning,
    InvalidInputError,
    ManagerConfig,
    ModelUnavailableError,
    NotPicklableError,
    SpaceMismatchError,
    UnknownModelError,
)
from thoth_models.bundle.digest import Digest
from thoth_models.switching import Hosted, Side, TextEncoder, choose_embeddings

if TYPE_CHECKING:
    from pathlib import Path


def space_of(text: str) -> str:
    """Return the space of an invented model."""
    return Digest.of(text.encode()).hex


# --- which side ---


@pytest.mark.parametrize(
    ("value", "default", "side", "reason"),
    [
        ("local", "hosted", Side.LOCAL, "THOTH_EMBEDDINGS=local"),
        (" Hosted ", "local", Side.HOSTED, "THOTH_EMBEDDINGS=Hosted"),
        ("", "local", Side.LOCAL, "the default, local"),
        (None, Side.HOSTED, Side.HOSTED, "the default, hosted"),
    ],
)
def test_the_environment_decides(
    hosted: Hosted, config: ManagerConfig, client: Client, *, value: str | None, default: str, side: Side, reason: str
) -> None:
    environ = {} if value is None else {"THOTH_EMBEDDINGS": value}
    chosen = choose(hosted, config, environ, default=default)
    assert chosen.side is side
    assert chosen.stats().reason == reason
    assert client.made == (side is Side.HOSTED)


def test_the_environment_of_this_process_is_asked(
    hosted: Hosted, config: ManagerConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert choose_embeddings(index=None, hosted=hosted, config=config).side is Side.LOCAL
    monkeypatch.setenv("THOTH_EMBEDDINGS", "hosted")
    assert choose_embeddings(index=None, hosted=hosted, config=config).side is Side.HOSTED


@pytest.mark.parametrize("value", ["both", "openai", "50%", "true", "local,hosted"])
def test_another_value_is_refused(hosted: Hosted, config: ManagerConfig, client: Client, value: str) -> None:
    with pytest.raises(EnvironmentFault, match=f"THOTH_EMBEDDINGS: expected local or hosted, found '{value}'"):
        choose(hosted, config, {"THOTH_EMBEDDINGS": value})
    assert client.made == 0


def test_the_choice_is_logged_once(hosted: Hosted, config: ManagerConfig, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "thoth_models.switching"):
        chosen = choose(hosted, config, REMOTE)
        chosen.encode(["a"])
        chosen.encode(["a"])
    (record,) = [record for record in caplog.records if record.name == "thoth_models.switching"]
    assert record.getMessage() == (
        f"embeddings: hosted, because of THOTH_EMBEDDINGS=hosted; their identity is {IDENTITY}"
    )
    assert (record.side, record.identity) == ("hosted", IDENTITY)  # type: ignore[attr-defined]


# --- the index has to fit ---


def test_each_side_answers_for_its_own_index(hosted: Hosted, config: ManagerConfig) -> None:
    assert choose(hosted, config, LOCAL, index=space_of("one")).identity == space_of("one")
    assert choose(hosted, config, REMOTE, index=IDENTITY).identity == IDENTITY


def test_the_local_side_refuses_an_index_of_the_hosted_one(hosted: Hosted, config: ManagerConfig) -> None:
    with pytest.raises(SpaceMismatchError) as error:
        choose(hosted, config, LOCAL, index=IDENTITY)
    assert str(error.value) == (
        f"the index was built with vectors of '{IDENTITY}', which do not match: THOTH_EMBEDDINGS=local, whose vectors "
        "belong to a space of 64 hexadecimal digits"
    )


def test_the_hosted_side_refuses_an_index_of_the_local_one(
    hosted: Hosted, config: ManagerConfig, client: Client
) -> None:
    for index in (space_of("one"), "openai:text-embedding-3-large:4", ""):
        with pytest.raises(SpaceMismatchError, match=f"THOTH_EMBEDDINGS=hosted, whose vectors are '{IDENTITY}'"):
            choose(hosted, config, REMOTE, index=index)
    assert client.made == 0


def test_the_local_side_refuses_an_index_of_another_model(hosted: Hosted, config: ManagerConfig) -> None:
    with pytest.raises(SpaceMismatchError, match=f"the index was built with vectors of '{space_of('three')}'"):
        choose(hosted, config, LOCAL, index=space_of("three"))


def test_an_alternate_answers_for_the_index_that_was_made_with_it(hosted: Hosted, config: ManagerConfig) -> None:
    chosen = choose(hosted, config, LOCAL, index=space_of("two"))
    assert chosen.identity == space_of("two")
    np.testing.assert_array_equal(chosen.encode("a"), EmbeddingManager(config).encode("a", "two"))


def test_what_would_stand_in_is_refused_when_the_model_cannot_be_loaded(
    hosted: Hosted, config: ManagerConfig, broken: set[str]
) -> None:
    """The list accepts an alternate of another space. An index does not."""
    broken.add("one")
    chosen = choose(hosted, config, LOCAL)
    assert chosen.identity == space_of("one")
    with pytest.raises(ModelUnavailableError, match="one is broken") as error:
        chosen.encode("a")
    assert f"two: its space is {space_of('two')[:12]}" in str(error.value)
    # The positive control: without the switch, the alternate answers.
    with pytest.warns(FallbackWarning, match="two/torch-fp32 stands in for 'one'"):
        EmbeddingManager(config).encode("a")


def test_it_stays_with_its_space_when_the_model_is_loaded_again(
    hosted: Hosted, config: ManagerConfig, broken: set[str]
) -> None:
    chosen = choose(hosted, config, LOCAL)
    before = chosen.encode("a")
    assert chosen.manager is not None
    chosen.manager.unload()
    np.testing.assert_array_equal(chosen.encode("a"), before)
    chosen.manager.unload()
    broken.add("one")
    with pytest.raises(ModelUnavailableError):
        chosen.encode("a")


def test_a_stand_in_for_a_new_index_is_told(hosted: Hosted, config: ManagerConfig) -> None:
    with pytest.warns(FallbackWarning, match="two/torch-fp32 stands in for 'gone'") as found:
        chosen = choose_embeddings(index=None, hosted=hosted, local="gone", config=config, environ=LOCAL)
    assert found[0].filename == __file__
    assert chosen.identity == space_of("two")
    assert chosen.stats().fallback == str(found[0].message)
    chosen.encode("a")
    with pytest.raises(SpaceMismatchError):
        choose(hosted, config, LOCAL, local="strict")


def test_settings_that_expect_a_space_count(hosted: Hosted, config: ManagerConfig) -> None:
    expecting = ManagerConfig(root=config.root, expect_spaces={"one": space_of("two")})
    assert choose(hosted, expecting, LOCAL, local="one").identity == space_of("two")
    with pytest.raises(SpaceMismatchError, match="the settings expect the space"):
        choose(hosted, expecting, LOCAL, local="one", index=space_of("one"))


# --- what the local side does ---


def test_the_local_side_encodes_as_the_manager_does(hosted: Hosted, config: ManagerConfig, client: Client) -> None:
    chosen = choose(hosted, config, LOCAL, local="uno")
    expected = EmbeddingManager(config).encode(["a", "b"], "one")
    np.testing.assert_array_equal(chosen.encode(["a", "b"]), expected)
    np.testing.assert_array_equal(chosen.encode(iter(("a", "b"))), expected)
    np.testing.assert_array_equal(chosen.encode("a"), expected[0])
    np.testing.assert_array_equal(asyncio.run(chosen.aencode(["a", "b"])), expected)
    assert chosen.encode([]).shape == (0, 8)
    assert chosen.dimension == 8
    assert client.made == 0


def test_choosing_opens_the_bundle_and_loads_nothing(hosted: Hosted, config: ManagerConfig) -> None:
    chosen = choose(hosted, config, LOCAL)
    assert chosen.manager is not None
    assert chosen.manager.stats().models == {}
    chosen.warm_up()
    assert chosen.manager.stats().models["one"].loads == 1


def test_equal_choices_share_their_manager(hosted: Hosted, config: ManagerConfig) -> None:
    assert choose(hosted, config, LOCAL).manager is choose(hosted, config, LOCAL, index=space_of("one")).manager


def test_what_the_bundle_does_not_have_is_known_at_once(hosted: Hosted, config: ManagerConfig, tmp_path: Path) -> None:
    with pytest.raises(UnknownModelError):
        choose(hosted, config, LOCAL, local="none")
    with pytest.raises(InvalidInputError, match="local: expected the name of a model, found NoneType"):
        choose(hosted, config, LOCAL, local=None)
    with pytest.raises(InvalidInputError, match="index: expected an identity as str, or None, found bytes"):
        choose(hosted, config, LOCAL, index=b"x")
    with pytest.raises(InvalidInputError, match="default: expected local or hosted, found 'both'"):
        choose(hosted, config, {}, default="both")


# --- what it tells ---


def test_stats_of_the_local_side(hosted: Hosted, config: ManagerConfig) -> None:
    chosen = choose(hosted, config, LOCAL)
    chosen.encode(["a", "b"])
    chosen.encode("c")
    with pytest.raises(InvalidInputError):
        chosen.encode([None])  # type: ignore[list-item]
    stats = chosen.stats()
    assert (stats.side, stats.identity, stats.fallback) == (Side.LOCAL, space_of("one"), None)
    assert (stats.calls, stats.texts, stats.failures) == (2, 3, 1)
    assert stats.encode_seconds > 0
    assert stats.manager is not None
    assert stats.manager.models["one"].texts == 3
    told = json.loads(json.dumps(stats.as_dict()))
    assert told["side"] == "local"
    assert told["manager"]["models"]["one"]["loads"] == 1
    assert repr(chosen) == f"<SwitchedEmbeddings local, {space_of('one')}>"


def test_stats_of_the_hosted_side(hosted: Hosted, config: ManagerConfig) -> None:
    chosen = choose(hosted, config, REMOTE)
    asyncio.run(chosen.aencode(["a", "b"]))
    told = chosen.stats().as_dict()
    assert told.pop("encode_seconds") > 0
    assert told == {
        "side": "hosted",
        "identity": IDENTITY,
        "reason": "THOTH_EMBEDDINGS=hosted",
        "fallback": None,
        "calls": 1,
        "texts": 2,
        "failures": 0,
        "manager": None,
    }


def test_threads_share_it(hosted: Hosted, config: ManagerConfig) -> None:
    chosen = choose(hosted, config, LOCAL)
    threads = [threading.Thread(target=lambda: [chosen.encode(["a"]) for _ in range(20)]) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert chosen.stats().texts == 160


def test_both_sides_are_what_a_service_calls(hosted: Hosted, config: ManagerConfig) -> None:
    """As a service writes it: typed by the protocol, whoever answers."""

    def search(encoder: TextEncoder, query: str) -> tuple[int, ...]:
        return encoder.encode(query).shape

    assert search(choose(hosted, config, LOCAL), "a") == (8,)
    assert search(choose(hosted, config, REMOTE), "a") == (4,)
    assert search(EmbeddingManager(config), "a") == (8,)


# --- copies, and other processes ---


@pytest.mark.parametrize("side", ["local", "hosted"])
def test_the_choice_stays_in_its_process(hosted: Hosted, config: ManagerConfig, side: str) -> None:
    chosen = choose(hosted, config, {"THOTH_EMBEDDINGS": side})
    assert copy.copy(chosen) is copy.deepcopy(chosen) is chosen
    with pytest.raises(NotPicklableError, match=rf"call choose_embeddings\(index='{chosen.identity}', "):
        pickle.dumps(chosen)
