"""Each kind of source, and the writer of the store, have what the protocols ask for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.support.downloads import QUICK
from thoth_models_builder.sources.directory import DirectoryTree
from thoth_models_builder.sources.hub import HubRepository
from thoth_models_builder.sources.wheel import WheelArchive

if TYPE_CHECKING:
    from pathlib import Path

    from thoth_models_builder.sources.source import Sink, Source
    from thoth_models_builder.storage.store import Store


def test_each_kind_of_source_is_one_and_has_a_label_of_its_own(tmp_path: Path) -> None:
    # The annotation is what the type checker compares with the protocol.
    sources: list[Source] = [
        DirectoryTree(tmp_path, "directory:model"),
        HubRepository("org/mini", "main", limits=QUICK),
        WheelArchive("some-mini==0.1.0", "model", scratch=tmp_path, timeout=1.0),
    ]
    assert [source.label for source in sources] == [
        "directory:model",
        "hub:org/mini@main",
        "wheel:some-mini==0.1.0!model",
    ]


def test_a_writer_of_the_store_is_a_sink(store: Store) -> None:
    with store.writer("config.json", digest=None, size=2) as writer:
        sink: Sink = writer
        sink.write(b"ab")
        assert sink.offset == 2
        sink.restart()
        assert sink.offset == 0
        sink.write(b"cd")
        assert sink.finish().size == 2
