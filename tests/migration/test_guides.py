"""The guides' diffs: that they fit, and what stands in the services afterwards."""

from __future__ import annotations

import re
import subprocess
from typing import TYPE_CHECKING

import pytest
import yaml

from tests.migration.deployment import LOCAL
from tests.migration.guides import GUIDES, ROOT, SERVICES, apply, copy_of, diffs, migrated, paths_of

if TYPE_CHECKING:
    from pathlib import Path

CALL_SITES = {
    "frontend/sql_generator/helpers/main_helpers/main_methods.py",
    "backend/thoth_ai_backend/async_tasks.py",
    "backend/thoth_ai_backend/backend_utils/vector_store_utils.py",
    "backend/thoth_ai_backend/preprocessing/db_context/search.py",
    "backend/thoth_ai_backend/preprocessing/preprocess.py",
    "backend/thoth_ai_backend/preprocessing/upload_evidence.py",
    "backend/thoth_ai_backend/preprocessing/upload_questions.py",
}
SHARED = ("frontend/sql_generator/helpers", "backend/thoth_ai_backend/backend_utils")


@pytest.fixture(scope="module")
def after(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return migrated(tmp_path_factory.mktemp("after") / "tree")


def test_each_diff_fits_and_belongs_to_the_service_of_its_guide(after: Path) -> None:
    for guide, directory in SERVICES.items():
        for diff in diffs(guide):
            (path,) = paths_of(diff)
            assert (after / path).is_file()
            assert path.startswith((directory, "docker/", "docker-compose.yml")), path


def test_a_diff_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    """The positive control: one line of the surroundings differs, as it would in another commit."""
    (diff,) = [diff for diff in diffs("sql_generator") if "main_preprocessing_phases.py" in diff]
    assert diff.count("-        state.extract_schema_via_lsh() #") == 1
    tree = copy_of(tmp_path / "tree")
    with pytest.raises(AssertionError, match="patch does not apply"):
        apply(diff.replace("state.extract_schema_via_lsh() #", "state.extract_schema_via_lsh(question) #", 1), tree)
    apply(diff, tree)


def test_every_call_site_of_the_factory_is_changed(after: Path, tmp_path: Path) -> None:
    """The seam: whatever embeds goes through this factory."""
    before = copy_of(tmp_path / "before")
    wanted = re.compile(r"from thoth_qdrant import VectorStoreFactory$", re.MULTILINE)

    def found(tree: Path) -> set[str]:
        files = (path for path in tree.rglob("*.py") if path.name != "local_vector_store.py")
        return {str(path.relative_to(tree)) for path in files if wanted.search(path.read_text(encoding="utf-8"))}

    assert found(before) == CALL_SITES
    assert found(after) == set()
    assert "create_vector_store" in (before / "backend/thoth_ai_backend/preprocessing/preprocess.py").read_text("utf-8")
    assert not any("create_vector_store" in path.read_text(encoding="utf-8") for path in after.rglob("*.py"))


def test_both_services_have_the_same_module(after: Path) -> None:
    first, second = ((after / place / "local_vector_store.py").read_bytes() for place in SHARED)
    assert first == second


@pytest.mark.parametrize("service", SERVICES.values())
def test_the_requirements_are_those_of_the_runtime(service: str, after: Path) -> None:
    """What the wheel needs, and does not bring where it is installed with --no-deps, stands in the service's list."""
    runtime = (ROOT / "runtime" / "pyproject.toml").read_text(encoding="utf-8")
    needed = re.findall(r'"((?:numpy|onnxruntime|tokenizers)>=[\d.]+)"', runtime)
    assert len(needed) == 3
    stated = (after / service / "pyproject.toml").read_text(encoding="utf-8")
    assert all(f'"{requirement}"' in stated for requirement in needed)


@pytest.mark.parametrize("image", ["sql-generator", "backend"])
def test_the_images_install_into_the_environment_of_the_service(image: str, after: Path) -> None:
    lines = (after / "docker" / f"{image}.Dockerfile").read_text(encoding="utf-8").splitlines()
    (sync,) = [number for number, line in enumerate(lines) if line.startswith("RUN uv sync")]
    (install,) = [number for number, line in enumerate(lines) if line.startswith("RUN uv pip install")]
    (doctor,) = [number for number, line in enumerate(lines) if line.endswith("thoth-models doctor --all")]
    assert sync < install < doctor  # the sync would remove what the lock does not name
    assert "--python /app/.venv/bin/python " in lines[install]
    assert lines[doctor].startswith("RUN /app/.venv/bin/")


def test_the_compose_file_can_be_read(after: Path) -> None:
    services = yaml.safe_load((after / "docker-compose.yml").read_text(encoding="utf-8"))["services"]
    assert "THOTH_MODELS_THREADS=1" in services["backend"]["environment"]


def test_the_settings_are_those_of_the_tests() -> None:
    page = (GUIDES / "sql_generator.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"^```sh\n(.*?)^```$", page, re.DOTALL | re.MULTILINE)
    assert dict(line.split("=") for line in block.splitlines()) == LOCAL


def test_the_switch_changes_the_three_settings_and_nothing_else(tmp_path: Path) -> None:
    page = (GUIDES / "thoth_be.md").read_text(encoding="utf-8")
    (command,) = re.findall(r"^\$ (sed -i .* \.env\.docker)$", page, re.MULTILINE)
    hosted = "DB_ROOT_PATH=/app/data\nEMBEDDING_PROVIDER=openai\nEMBEDDING_MODEL=m\nEMBEDDING_API_KEY=k\nOTHER=1\n"
    (tmp_path / ".env.docker").write_text(hosted, encoding="utf-8")
    subprocess.run(["bash", "-c", command], cwd=tmp_path, check=True)
    lines = (tmp_path / ".env.docker").read_text(encoding="utf-8").splitlines()
    assert dict(line.split("=") for line in lines) == {"DB_ROOT_PATH": "/app/data", "OTHER": "1", **LOCAL}


@pytest.mark.parametrize("page", sorted(path.name for path in GUIDES.glob("*.md")))
def test_links_lead_somewhere(page: str) -> None:
    text = (GUIDES / page).read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)#]*)(?:#[^)]*)?\)", text):
        if target and "://" not in target:
            assert (GUIDES / target).exists(), target
    for name, anchor in re.findall(r"\]\(([^)#:]*)#([^)]*)\)", text):
        headings = re.findall(r"^#+ (.*)$", (GUIDES / (name or page)).read_text(encoding="utf-8"), re.MULTILINE)
        assert anchor in {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}, anchor
