from __future__ import annotations

import pytest

from example_service.settings import Settings


def test_what_is_not_set_or_empty_has_its_default() -> None:
    assert Settings.from_environment({"SERVICE_MODEL": "", "HOME": "/"}) == Settings()


def test_every_setting_can_be_set() -> None:
    texts = {
        "SERVICE_MODEL": "mini",
        "SERVICE_EXPECT_SPACE": "ab",
        "SERVICE_LOAD_SECONDS": "1.5",
        "SERVICE_PATIENCE_SECONDS": "2",
        "SERVICE_ENCODE_SECONDS": "3",
        "SERVICE_ENCODE_WORKERS": "2",
        "SERVICE_MOST_WAITING": "5",
        "SERVICE_DRAIN_SECONDS": "0",
        "SERVICE_STOP_SECONDS": "7",
        "SERVICE_SCHEMA_THRESHOLD": "0.5",
        "SERVICE_EVIDENCE_THRESHOLD": "-0.5",
        "SERVICE_EXAMPLE_THRESHOLD": "1",
    }
    expected = Settings(
        model="mini",
        expect_space="ab",
        load_seconds=1.5,
        patience_seconds=2.0,
        encode_seconds=3.0,
        encode_workers=2,
        most_waiting=5,
        drain_seconds=0.0,
        stop_seconds=7.0,
        schema_threshold=0.5,
        evidence_threshold=-0.5,
        example_threshold=1.0,
    )
    assert Settings.from_environment(texts) == expected
    assert len(texts) == len(Settings.__slots__)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("SERVICE_LOAD_SECONDS", "soon"),
        ("SERVICE_LOAD_SECONDS", "0"),
        ("SERVICE_LOAD_SECONDS", "inf"),
        ("SERVICE_LOAD_SECONDS", "nan"),
        ("SERVICE_DRAIN_SECONDS", "-1"),
        ("SERVICE_STOP_SECONDS", "0"),
        ("SERVICE_ENCODE_WORKERS", "0"),
        ("SERVICE_ENCODE_WORKERS", "1.5"),
        ("SERVICE_MOST_WAITING", "-1"),
        ("SERVICE_SCHEMA_THRESHOLD", "40"),
        ("SERVICE_EVIDENCE_THRESHOLD", "nan"),
    ],
)
def test_what_cannot_be_used_is_refused_by_name(name: str, text: str) -> None:
    with pytest.raises(ValueError, match=f"^{name}: expected .*, found '{text}'$"):
        Settings.from_environment({name: text})
