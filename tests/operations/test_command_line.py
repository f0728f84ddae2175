from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from gates.__main__ import main
from tests.operations.gating import RIGHT, Recording, figures, gate_process, serving

if TYPE_CHECKING:
    from pathlib import Path

URL = "http://127.0.0.1:9/"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "GATE"),
        (["within", "5m"], "expected a command after --, found []"),
        (["within", "5m", "--", "no-such-program"], "expected a program after --, found 'no-such-program'"),
        (["within", "soon", "--", "true"], "expected a time such as 90s, 5m or 1h, found 'soon'"),
        (["within", "0s", "--", "true"], "expected a time such as 90s, 5m or 1h, found '0s'"),
        (["watch", URL], "expected a command after --, found []"),
        (["watch", URL, "--for", "1s", "--", "true"], "expected no command after --, found ['true']"),
        (["watch", URL, "--for", "1s", "--within", "1s"], "expected a command after --, which --within limits"),
        (["watch", URL, "--for", "1s", "--rate", "0"], "expected requests per second, above 0 and at most 200"),
        (["watch", URL, "--for", "1s", "--rate", "1e3"], "expected requests per second"),
        (["watch", URL, "--for", "1s", "--max-failures", "-5%"], "argument"),
        (["watch", "file:///etc/passwd", "--for", "1s"], "expected an address such as http://"),
        (["watch", URL, "--for", "1s", "--body", "@/nowhere"], "expected a file with a body on each line"),
        # A variable or a command of the shell that found nothing: nothing would be compared.
        (["watch", URL, "--for", "1s", "--expect", ""], "expected a text that a right answer has, found ''"),
        (["ready", URL, "--within", "0.1s", "--bundle", ""], "expected 64 hexadecimal digits, found ''"),
        (["ready", URL, "--within", "0.1s", "--space", ""], "expected 64 hexadecimal digits, found ''"),
        (["ready", URL, "--within", "0.1s", "--bundle", "ab"], "expected 64 hexadecimal digits, found 'ab'"),
        (["compare", URL], "NEW_URL"),
        (
            ["memory", "--old", "123", "--new", "pid:1"],
            "compose:SERVICE or bytes:OWN+FILES, found '123'",
        ),
        (["memory", "--old", "bytes:123", "--new", "pid:1"], "bytes:OWN+FILES, found 'bytes:123'"),
        (["memory", "--old", "container:a b", "--new", "pid:1"], "expected pid:N"),
        (["memory", "--old", "container:-H", "--new", "pid:1"], "expected pid:N"),
    ],
)
def test_wrong_usage_ends_with_2(arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    out, error = capsys.readouterr()
    assert said in error
    assert out == ""


def test_figures_come_first_and_the_verdict_last() -> None:
    done = gate_process("memory", "--old", "bytes:100000000+300000000", "--new", "bytes:160000000+300000000")
    assert done.returncode == 1
    assert done.stdout.splitlines() == [
        "old: bytes:100000000+300000000",
        "new: bytes:160000000+300000000",
        "own_ratio: 1.6",
        "ratio: 1.15",
        (
            "beyond: 160.0 MB of its own, 1.60 x the 100.0 MB of the old one; "
            "with files 460.0 MB, 1.15 x the 400.0 MB; the limit is 1.50"
        ),
    ]


def test_what_the_command_prints_is_no_part_of_the_result() -> None:
    with serving(lambda number, body: RIGHT) as url:
        done = gate_process("watch", url, "--rate", "20", "--json", "--", "echo", "words of the command")
    assert done.returncode == 0, done.stdout
    assert done.stdout.count("\n") == 1
    assert "words of the command" in done.stderr


def test_traffic_surrounds_the_command() -> None:
    """What a roll-out breaks may be felt a moment after its end."""
    with serving(lambda number, body: RIGHT if number < 60 else None) as url:
        code, printed = figures("watch", url, "--rate", "20", "--", "true")
    assert (code, list(printed["failures"])) == (1, ["RemoteDisconnected"])


def test_each_line_of_a_file_is_a_body(tmp_path: Path) -> None:
    seen: list[str] = []
    (tmp_path / "questions").write_text('{"a": 1}\n\n{"a": 2}\n', encoding="utf-8")
    with serving(Recording(seen)) as url:
        figures("watch", url, "--for", "0.3s", "--body", f"@{tmp_path / 'questions'}")
    assert set(seen) == {'{"a": 1}', '{"a": 2}'}
