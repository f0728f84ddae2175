"""The audit of thoth-vdbmanager: that the committed page is what the wheels say, and that the reading is right."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import thoth_models
from thoth_models.bundle.selection import DEFAULT
from tools.migration.__main__ import main
from tools.migration.audit import PAGE, audit
from tools.migration.changes import Change, breaks_of, compare
from tools.migration.needs import required_names
from tools.migration.surface import Release, read_release
from tools.migration.wheels import Pin, WheelError, WheelUnreachableError, check, fetch, read_pins, read_texts

STANDARD = frozenset(sys.stdlib_module_names)
METADATA = "Metadata-Version: 2.1\nName: store\nVersion: {}\n"


@pytest.fixture(scope="module")
def wheels(pytestconfig: pytest.Config) -> Path:
    """The pinned wheels, downloaded once for all runs in this checkout."""
    cache = Path(pytestconfig.cache.mkdir("thoth-vdbmanager"))
    try:
        for pin in read_pins():
            fetch(pin, cache)
    except WheelUnreachableError as error:
        # A run of CI that has tested nothing must not be green.
        (pytest.fail if os.environ.get("CI") else pytest.skip)(str(error))
    return cache


def release(version: str, *, metadata: str = "", **modules: str) -> Release:
    """Return a release of invented modules, below the package ``store``; ``__`` stands for a dot."""
    texts = {f"store/{name.replace('__', '/')}.py": text for name, text in modules.items()}
    texts = {path.replace("/init.py", "/__init__.py"): text for path, text in texts.items()}
    return read_release(version, {**texts, "store.dist-info/METADATA": METADATA.format(version) + metadata}, STANDARD)


def changes(before: str, after: str) -> list[Change]:
    return compare(release("1", module=before), release("2", module=after))


def test_the_page_is_what_the_wheels_say(wheels: Path) -> None:
    assert PAGE.read_text(encoding="utf-8") == audit(wheels)


def test_another_page_would_be_seen(
    wheels: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "page.md"
    monkeypatch.setattr("tools.migration.__main__.PAGE", page)
    assert main(["--cache", str(wheels)]) == 0
    assert main(["--cache", str(wheels), "--check"]) == 0
    page.write_text(page.read_text(encoding="utf-8").replace("add_evidence", "add_proof", 1), encoding="utf-8")
    assert main(["--cache", str(wheels), "--check"]) == 1
    assert "expected what the wheels say" in capsys.readouterr().err


def test_a_wheel_with_another_digest_ends_the_audit(
    wheels: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cache = tmp_path / "cache"
    shutil.copytree(wheels, cache)
    pin = read_pins()[3]
    data = bytearray((cache / pin.file).read_bytes())
    data[len(data) // 2] ^= 1
    (cache / pin.file).write_bytes(data)
    with pytest.raises(WheelError, match=rf"{pin.file}: expected sha256 {pin.sha256}"):
        audit(cache)
    assert main(["--cache", str(cache), "--check"]) == 2
    assert pin.sha256 in capsys.readouterr().err


def test_a_wheel_that_cannot_be_had_says_so(tmp_path: Path) -> None:
    pin = Pin(distribution="thoth-vdbmanager", version="9999", file="none.whl", sha256="0" * 64, size=1)
    with pytest.raises(WheelUnreachableError, match=r"none\.whl: expected pip to download it"):
        fetch(pin, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_every_pinned_release_is_told_of_with_its_digest() -> None:
    page = PAGE.read_text(encoding="utf-8")
    pins = read_pins()
    assert [pins[0].version, pins[-1].version] == ["0.2.24", "0.7.2"]
    assert "0.4.0" in {pin.version for pin in pins}
    for pin in pins:
        assert f"`{pin.sha256}`" in page


def test_the_known_turns_of_its_history_are_on_the_page() -> None:
    """What people who moved between these releases tripped over, known from elsewhere than this script."""
    lines = PAGE.read_text(encoding="utf-8").splitlines()

    def one(*words: str) -> str:
        found = [line for line in lines if all(word in line for word in words)]
        assert found, words
        return found[0]

    one("`ThothType.HINT`", "`EVIDENCE`", "renamed")
    one("`HintDocument`", "`EvidenceDocument`", "renamed")
    one("add_hint", "add_evidence", "renamed")
    one("PineconeAdapter", "the module is gone")
    one("WeaviateAdapter", "the module is gone")
    one("`embedding_model` defaults to 'default'", "QdrantAdapter")
    one("`MultilingualEmbeddingManager`", "no longer offered here")
    one("extra `legacy-embeddings` (gone)")
    one("default = paraphrase-multilingual-MiniLM-L12-v2", "DOCKER_ENV")


def test_nothing_of_a_wheel_is_run(tmp_path: Path) -> None:
    trap = tmp_path / "ran"
    wheel = tmp_path / "store-1-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("store/__init__.py", f"from pathlib import Path\nPath({str(trap)!r}).touch()\ndef f(): ...\n")
        archive.writestr("store-1.dist-info/METADATA", METADATA.format(1))
    found = read_release("1", read_texts(wheel), STANDARD)
    assert list(found.modules["store"].functions) == ["f"]
    assert not trap.exists()
    # The positive control: this is what running it would have left.
    subprocess.run([sys.executable, "-c", "import store"], env={"PYTHONPATH": str(wheel)}, check=True)
    assert trap.exists()


def test_a_wheel_that_is_no_archive_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "store.whl"
    path.write_bytes(b"not an archive")
    with pytest.raises(WheelError, match=r"store\.whl: expected an archive"):
        read_texts(path)
    pin = Pin(distribution="store", version="1", file="store.whl", sha256="0" * 64, size=14)
    with pytest.raises(WheelError, match="and 14 bytes"):
        check(pin, path)


COMPAT = Path(thoth_models.__file__).parent / "compat"
OLD_CALLS = [
    ("0.5.0", "embedding_manager", "MultilingualEmbeddingManager"),
    ("0.5.3", "embedding_manager", "MultilingualEmbeddingManager"),
    ("0.6.1", "embedding_manager", "MultilingualEmbeddingManager"),
    ("0.6.1", "external_embedding_manager", "ExternalEmbeddingManager"),
    ("0.7.2", "external_embedding_manager", "ExternalEmbeddingManager"),
]


@pytest.mark.parametrize(("version", "module", "name"), OLD_CALLS)
def test_every_old_call_suits_what_took_its_place(wheels: Path, version: str, module: str, name: str) -> None:
    """The one changed import of the guides: no call of the class, or of the functions beside it, breaks by it."""
    (pin,) = [pin for pin in read_pins() if pin.version == version]
    old = read_release(version, read_texts(fetch(pin, wheels)), STANDARD)
    before = old.modules[f"thoth_vdbmanager.vdbmanager.core.{module}"]
    texts = {f"compat/{path.name}": path.read_text(encoding="utf-8") for path in COMPAT.glob("*.py")}
    # A constant of ours, which the old signatures spell out.
    texts = {path: re.sub(r"(?<== )DEFAULT\b", repr(DEFAULT), text) for path, text in texts.items()}
    ours = read_release("ours", {**texts, "compat.dist-info/METADATA": METADATA.format(1)}, STANDARD)
    (after,) = [found for found in ours.modules.values() if name in found.classes]

    old_methods, new_methods = old.methods_of(before.classes[name]), ours.methods_of(after.classes[name])
    assert len(old_methods) >= 8
    assert sorted(old_methods.keys() - new_methods.keys()) == []
    assert sorted(before.functions.keys() - after.functions.keys()) == []
    pairs = [(old_methods[one], new_methods[one]) for one in old_methods]
    pairs += [(before.functions[one], after.functions[one]) for one in before.functions]
    reasons = {str(left): list(breaks_of(left, right)) for left, right in pairs}
    assert {call: found for call, found in reasons.items() if found} == {}


BREAKING = [
    ("def f(a): ...", "", "removed"),
    ("def f(a): ...", "def g(a): ...", "renamed"),
    ("def f(a): ...", "def f(): ...", "`a` is gone"),
    ("def f(a): ...", "def f(**more): ...", "`a` goes to **"),
    ("def f(a): ...", "def f(a, b): ...", "`b` must be given"),
    ("def f(a=1): ...", "def f(a): ...", "`a` must be given"),
    ("def f(a=1): ...", "def f(a=2): ...", "`a` defaults to 2"),
    ("def f(a, b): ...", "def f(b, a): ...", "`a` has another position; `b` has another position"),
    ("def f(a): ...", "def f(*, a): ...", "`a` must be given by name"),
    ("def f(*a): ...", "def f(): ...", "`*a` is gone"),
    ("def f(**a): ...", "def f(): ...", "`**a` is gone"),
    ("def f(): ...", "async def f(): ...", "was plain"),
    ("class A:\n @classmethod\n def f(c): ...", "class A:\n def f(s): ...", "was classmethod"),
    ("class A:\n def f(s): ...", "class A:\n @abstractmethod\n def f(s): ...", "abstract now"),
    ("class A(Exception): ...", "class A(ValueError): ...", "isinstance"),
    ("class A:\n def f(s): ...", "class A: ...", "removed"),
    ("class A:\n HINT = 'hint'", "class A:\n PROOF = 'proof'", "renamed"),
]
HARMLESS = [
    ("def f(a): ...", "def f(a, b=1): ...", "signature"),
    ("def f(a): ...", "def f(a, *b, **c): ...", "signature"),
    ("def f(a): ...", "def f(a=1): ...", "signature"),
    ("def f(a: int): ...", "def f(a: str): ...", "annotations"),
    ("", "def f(a): ...", "added"),
    ("class A:\n @abstractmethod\n def f(s): ...", "class A:\n def f(s): ...", "signature"),
]
SAME = [
    ("def f(a: Optional[List[str]]) -> Dict[str, int]: ...", "def f(a: list[str] | None) -> dict[str, int]: ..."),
    ("def f(a: Union[int, str]): ...", "def f(a: 'int | str'): ..."),
    ("def _f(a): ...", "def _g(): ..."),
    ("class B:\n def f(s): ...\nclass A(B):\n def f(s): ...", "class B:\n def f(s): ...\nclass A(B): ..."),
    ("def f(): return 1", "def f(): return 2"),
]


@pytest.mark.parametrize(("before", "after", "reason"), BREAKING)
def test_what_breaks_a_caller_is_said_to_break(before: str, after: str, reason: str) -> None:
    (found,) = [change for change in changes(before, after) if change.breaks]
    assert found.breaks == reason


@pytest.mark.parametrize(("before", "after", "kind"), HARMLESS)
def test_what_suits_every_caller_is_not(before: str, after: str, kind: str) -> None:
    (found,) = changes(before, after)
    assert (found.kind, found.breaks) == (kind, "")


@pytest.mark.parametrize(("before", "after"), SAME)
def test_what_callers_cannot_see_is_no_change(before: str, after: str) -> None:
    assert changes(before, after) == []


def test_imports_are_told_apart_by_when_they_happen() -> None:
    text = (
        "import os, early.part\nfrom typing import TYPE_CHECKING\nfrom ..base import B\nfrom . import other\n"
        "if TYPE_CHECKING:\n    import types_only\ndef f():\n    import late\n"
        "try:\n    import tried\nexcept ImportError:\n    pass\n"
    )
    found = release("1", init="", base="", deep__init="", deep__other="", deep__module=text).modules[
        "store.deep.module"
    ]
    assert {name: early for name, (early, _) in found.imports.items()} == {
        "early.part": True,
        "types_only": False,
        "late": False,
        "tried": True,
    }
    assert found.internal == {"store.base", "store.deep", "store.deep.other"}


def test_the_environment_and_swallowed_errors_are_found() -> None:
    text = (
        "import os\nos.getenv('A')\nos.environ['B']\nos.environ.get('C', 1)\nos.environ.get(name)\n"
        "class K:\n    def quiet(self):\n        try: ...\n        except Exception: pass\n"
        "    def loud(self):\n        try: ...\n        except Exception as error: raise Other from error\n"
        "    def narrow(self):\n        try: ...\n        except KeyError: pass\n"
    )
    found = release("1", module=text).modules["store.module"]
    assert found.environment == {"A", "B", "C", "…"}
    assert found.swallows == ("K.quiet",)


def test_requirements_are_read_whatever_their_spelling() -> None:
    lines = (
        "Requires-Python: >=3.12\nRequires-Dist: PyYAML>=6.0,<7\nRequires-Dist: typing_extensions (>=4)\n"
        "Requires-Dist: torch>=2 ; extra == \"gpu\"\nRequires-Dist: numpy; extra == 'gpu'\n"
    )
    found = release("1", metadata=lines.replace(" (>=4)", ">=4"), module="")
    assert found.python == ">=3.12"
    assert required_names(found, "") == {"pyyaml": "<7,>=6.0", "typing-extensions": ">=4"}
    assert required_names(found, "gpu") == {"torch": ">=2", "numpy": ""}
