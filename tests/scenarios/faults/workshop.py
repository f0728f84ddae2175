"""A project between an old release and a new one, stage by stage, and what has to hold whatever happens at a stage.

The stages are the commands that make a release: lock, build, sign, image, gc. Each begins with what the stages before
left, and with the whole of the old release in place. What is right after a stage is what it leaves undisturbed.
"""

from __future__ import annotations

import hashlib
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Self

from tests.support.bundles import make_writable
from tests.support.projects import Project, contents, is_intact, model_files, write_files
from tests.support.signing import make_key
from thoth_models_builder.oci.layout_files import blob_path
from thoth_models_builder.registry.push import read_contents

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.hub_simulator import HubSimulator
    from tests.support.intercepted import Commands, Outcome
    from tests.support.signing import Key

OLD, NEW = "c" * 40, "d" * 40
STAGES: Final = ("lock", "build", "sign", "image", "gc")

USERS: Final = {
    "notes.txt": b"notes",
    ".models.lock.swp": b"an editor's",
    ".models.lock.0123456789abcdeg": b"of another program",
    ".bundle.mine": b"mine",
    "bundle.old/manifest.json": b"{}",
    ".bundle.backup.building/file": b"not a build's",
    ".bundle.sig.bak": b"the signature before",
    "bundle.report.json.orig": b"{}",
    "image/README": b"what this is",
    "image/blobs/sha256/notes": b"about a blob",
    "store/README": b"what this is",
}
"""Files of a user beside those of the builder, some with names that are almost those of its temporary files."""

COMPILED: Final = {"first": "read", "record": "after:first result"}
"""The steps of the fake compiler, which are the prompts of a model."""


@dataclass
class Workshop:
    """The project, and what is left by each stage.

    Attributes:
        project: The project, whose place is the same at every stage.
        saved: Directory with the state before each stage, and after the last.
        commands: Runs commands.
        key: Signs the bundle.
    """

    project: Project
    saved: Path
    commands: Commands
    key: Key

    @classmethod
    def of(
        cls, root: Path, hub: HubSimulator, commands: Commands, *, is_compiled: bool, has_previous: bool = True
    ) -> Self:
        """Prepare all stages.

        Args:
            root: Directory for everything.
            hub: Gets the models.
            commands: Runs commands.
            is_compiled: Whether a model is compiled, which takes a process of its own.
            has_previous: Whether there is a release before.
        """
        project = Project(root / "project")
        prompts = COMPILED if is_compiled else None
        hub.add_model("org/mini", model_files("old", prompts=prompts), revision=OLD)
        hub.add_model("org/mini", model_files("new", prompts=prompts), revision=NEW)
        write_files(project.root / "model", model_files("other"))
        made = cls(project, root / "saved", commands, make_key(root))
        users = USERS
        if has_previous:
            made._specify(OLD, is_compiled=is_compiled)
            for stage in STAGES:
                assert made.run(stage).code == 0
            # What a build from an empty store does is more, and so there is more to be disturbed in.
            shutil.rmtree(project.store)
        else:  # a directory with other files is not made a layout
            users = {path: data for path, data in USERS.items() if not path.startswith("image/")}
        write_files(project.root, users)
        made._specify(NEW, is_compiled=is_compiled)
        for index, stage in enumerate(STAGES):
            made._save(index)
            assert made.run(stage).code == 0
        made._save(len(STAGES))
        return made

    def _specify(self, revision: str, *, is_compiled: bool) -> None:
        compiled = {"golden": True} if is_compiled else {}
        hub = {"sources": [{"hub": "org/mini", "revision": revision}], **compiled}
        self.project.specify({"mini": hub, "other": {"sources": [{"directory": "model"}]}})

    def arguments(self, stage: str) -> tuple[str, ...]:
        root, output = self.project.root, str(self.project.output)
        if stage == "sign":
            return ("sign", output, f"--key={self.key.file}", "--json")
        if stage == "image":
            return (
                "image",
                output,
                f"--to=oci:{root / 'image'}",
                f"--to=docker-archive:{root / 'image.tar'}",
                "--json",
            )
        more = ("--unused-days=0",) if stage == "gc" else ()
        return (*self.project.arguments(stage, *more), "--json")

    def run(self, stage: str, **options: object) -> Outcome:
        """Run a stage; options are those of :meth:`tests.support.intercepted.Commands.run`."""
        return self.commands.run(*self.arguments(stage), **options)  # type: ignore[arg-type]

    @property
    def temporary(self) -> Path:
        """Where TMPDIR says that temporary files go."""
        return self.project.root.parent / "tmp"

    # --- states ---

    def _save(self, index: int) -> None:
        shutil.copytree(self.project.root, self.saved / str(index), symlinks=True)

    def restore(self, stage: str) -> None:
        """Put the project into the state before a stage."""
        for path in self.temporary.iterdir():
            path.unlink()
        make_writable(self.project.root)
        shutil.rmtree(self.project.root)
        shutil.copytree(self.saved / str(STAGES.index(stage)), self.project.root, symlinks=True)

    def before(self, stage: str) -> dict[str, bytes]:
        return contents(self.saved / str(STAGES.index(stage)))

    def after(self, stage: str) -> dict[str, bytes]:
        return contents(self.saved / str(STAGES.index(stage) + 1))

    def check_left(self, stage: str) -> None:
        """Check what a disturbed stage left: each thing is the old one or the new one, whole, and nothing is lost."""
        root = self.project.root
        before, after, found = self.before(stage), self.after(stage), contents(root)
        for path, data in USERS.items():
            assert path not in before or found.get(path) == data, f"{path} of the user"
        for path in ("models.yaml", "models.lock", "bundle.sig", "bundle.report.json", "image/index.json", "image.tar"):
            assert found.get(path) in {before.get(path), after.get(path)}, path
        # Either whole bundle, which loads.
        if self.project.output.exists():
            is_intact(self.project.output)
            assert below(found, "bundle/") in (below(before, "bundle/"), below(after, "bundle/"))
        for path, data in below(found, "store/objects/").items():
            assert path.replace("/", "") == hashlib.sha256(data).hexdigest()
        if "image/index.json" in found:
            check_layout(root / "image")

    def check_complete(self, stage: str) -> None:
        """Check that a stage which was run again left what it leaves undisturbed, and that gc removes the rest."""
        after, found = self.after(stage), contents(self.project.root)
        rest = {path for path in found.keys() - after.keys() if path.startswith(REMOVED_BY_GC)}
        assert found.keys() - rest == after.keys()
        assert {path for path in after if found[path] != after[path]} == set()
        if rest or self._scratch():
            assert self.run("gc").code == 0
            assert not any(path.startswith(REMOVED_BY_GC) for path in contents(self.project.root))
            assert not self._scratch()
        temporary = {path.read_bytes() for path in self.temporary.iterdir()}  # a directory is an error
        assert temporary <= {b"", PROBE}

    def _scratch(self) -> list[Path]:
        return list((self.project.store / "scratch").glob("*"))


REMOVED_BY_GC: Final = ("store/partial/", "store/scratch/", "store/records/.")
"""Where a killed process may leave what only gc removes."""

PROBE: Final = b"blat"
"""What Python writes into a file to find out where temporary files can be: killed just then, it leaves that file."""


def below(files: dict[str, bytes], prefix: str) -> dict[str, bytes]:
    return {path.removeprefix(prefix): data for path, data in files.items() if path.startswith(prefix)}


def check_layout(layout: Path) -> None:
    """Check that all that the image of a layout consists of is there, byte for byte."""
    found = read_contents(layout)
    for blob in found.blobs:
        assert hashlib.sha256(blob_path(layout, blob.digest).read_bytes()).hexdigest() == blob.digest.hex
