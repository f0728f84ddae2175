"""What every page must be like, beyond what `nox -s docs` sees when it builds them."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import yaml

from tests.support.public import PUBLIC
from thoth_models_builder.spec.models_yaml import LicencePolicy, ModelSpec, parse_spec

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = sorted([*DOCS.rglob("*.md"), ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "SECURITY.md"])

_PLACEHOLDER = re.compile(
    r"\b(?:OWNER|YOUR[-_]?[A-Z]*|COMMIT|USERNAME|CHANGEME|TODO|FIXME|XXX)\b|<your[^>]*>|example\.(?:com|org|net)"
)
"""Words that a reader would have to replace. `you/thoth-models` is set once, at the top of docs/ci.md."""


def names_to_replace(text: str) -> list[str]:
    return _PLACEHOLDER.findall(text)


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_no_page_has_a_name_to_replace(path: Path) -> None:
    assert names_to_replace(path.read_text(encoding="utf-8")) == []


def test_a_name_to_replace_would_be_seen() -> None:
    for text in ("OWNER/thoth-models@COMMIT", "YOUR-TOKEN", "https://models.example.com/", "<your name>", "TODO"):
        assert names_to_replace(text)
    assert names_to_replace("SERVICE_OWNERS, for your own list, an example") == []


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_only_pages_are_linked_with_a_fragment(path: Path) -> None:
    """MyST drops the fragment of any other file without a word, so that a line that moved would not be noticed."""
    links = re.findall(r"\]\(([^)\s:]+)#[^)\s]*\)", path.read_text(encoding="utf-8"))
    assert [link for link in links if not link.endswith((".md", "/"))] == []


def documented(module: str) -> set[str]:
    """Return the names of a public module that the reference documents; `*` for all that it defines or lists."""
    found: set[str] = set()
    for page in (DOCS / "reference").glob("*.rst"):
        text = page.read_text(encoding="utf-8")
        if re.search(rf"^\.\. automodule:: {re.escape(module)}\n(?:   :.*\n)*?   :members:\n", text, re.MULTILINE):
            found.add("*")
        found |= set(re.findall(rf"^\.\. auto(?:class|function):: {re.escape(module)}\.(\w+)$", text, re.MULTILINE))
    return found


@pytest.mark.parametrize("module", sorted(set(PUBLIC) - {"thoth_models_builder"}))
def test_every_public_name_is_in_the_reference(module: str) -> None:
    errors = set(PUBLIC["thoth_models.errors"]) if module == "thoth_models" else set()
    found = documented(module)
    assert "*" in found or set(PUBLIC[module]) - errors - {"__version__"} == found


def test_only_pages_of_the_site_alone_have_directives() -> None:
    """All others are read in the file view of a hosting site as well, which shows a directive as code."""
    having = {path.relative_to(DOCS).as_posix() for path in DOCS.rglob("*.md") if "```{" in path.read_text("utf-8")}
    assert having == {"index.md"}


def test_the_blocks_of_the_first_page_are_those_of_the_readme() -> None:
    """Those of the README are run; here they are the same, so that there is one set of first commands."""
    blocks = re.compile(r"^```(?:console|python)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
    readme = blocks.findall((ROOT / "README.md").read_text(encoding="utf-8"))
    first = blocks.findall((DOCS / "index.md").read_text(encoding="utf-8"))
    assert len(first) == 3
    assert [block for block in first if block not in readme] == []


# --- blocks of data ---

BLOCKS = [
    pytest.param(kind, text, id=f"{path.relative_to(ROOT).as_posix()}-{number}")
    for path in PAGES
    for number, (kind, text) in enumerate(
        re.findall(r"^```(yaml|json|toml)\n(.*?)^```$", path.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    )
]
READ: dict[str, Callable[[str], object]] = {"yaml": yaml.safe_load, "json": json.loads, "toml": tomllib.loads}


@pytest.mark.parametrize(("kind", "text"), BLOCKS)
def test_a_block_of_data_can_be_read(kind: str, text: str) -> None:
    assert READ[kind](text)


def test_the_page_about_models_yaml_shows_two() -> None:
    texts = [str(one.values[1]) for one in BLOCKS if str(one.id).startswith("docs/models-yaml.md-")]
    models = [set(parse_spec(text.encode(), "models.yaml").models) for text in texts]
    assert models == [{"multilingual-mini", "mini"}, {"e5", "ours"}]


def test_the_page_about_models_yaml_has_every_key() -> None:
    page = (DOCS / "models-yaml.md").read_text(encoding="utf-8")
    named = {name for row in rows(page, "key") for name in re.findall(r"`([a-z0-9_.]+)`", row)}
    licences = {f"licences.{key}" for key in LicencePolicy.model_fields}
    assert named >= {*ModelSpec.model_fields, "version", "bundle.name", "bundle.default", *licences}


# --- docs/ci.md ---


def rows(page: str, heading: str) -> list[str]:
    """Return the first cells of a table, by the first cell of its heading."""
    table = page.split(f"| {heading} |")[1].split("\n\n", maxsplit=1)[0]
    return re.findall(r"^\| (`.*?) \|", table, re.MULTILINE)


def test_the_action_is_described_as_it_is() -> None:
    page = (DOCS / "ci.md").read_text(encoding="utf-8")
    action = yaml.safe_load((ROOT / "action.yml").read_text(encoding="utf-8"))
    assert {name for row in rows(page, "input") for name in re.findall(r"`([a-z-]+)`", row)} == set(action["inputs"])
    listed = re.search(r"^Outputs: (.*?), and `command`", page, re.MULTILINE)
    assert listed
    assert {*re.findall(r"`([a-z-]+)`", listed[1]), "command"} == set(action["outputs"])
    (example,) = [yaml.safe_load(text) for text in re.findall(r"^```yaml\n(.*?)^```$", page, re.DOTALL | re.MULTILINE)]
    (step,) = [step for step in example["jobs"]["bundle"]["steps"] if step.get("id") == "models"]
    assert set(step["with"]) <= set(action["inputs"])


def test_every_job_of_a_release_is_described_and_every_environment() -> None:
    page = (DOCS / "ci.md").read_text(encoding="utf-8")
    release = yaml.safe_load((ROOT / ".github" / "workflows" / "release.yml").read_text(encoding="utf-8"))["jobs"]
    assert [name for row in rows(page, "job") for name in re.findall(r"`(\w+)`", row)] == list(release)
    used = {job["environment"] for job in release.values() if isinstance(job.get("environment"), str)}
    used |= {job["environment"]["name"] for job in release.values() if isinstance(job.get("environment"), dict)}
    listed = re.search(r"make the environments (.*?), each", page)
    assert listed
    assert set(re.findall(r"`([\w-]+)`", listed[1])) == used
