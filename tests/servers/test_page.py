"""The page is what the tests run."""

from __future__ import annotations

from pathlib import Path

from tests.servers import documented


def test_each_file_of_the_page_is_run() -> None:
    used = "".join(path.read_text(encoding="utf-8") for path in Path(__file__).parent.glob("test_*.py"))
    files = documented.documented()
    assert len(files) >= 7
    assert all(f'"{name}"' in used for name in files)
