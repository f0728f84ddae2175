"""What the manifest says of a model: frozen types.

Pure. :mod:`thoth_models.manifest` reads and writes them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from thoth_models.accuracy import Accuracy
    from thoth_models.digest import Digest


@dataclass(frozen=True, kw_only=True, slots=True)
class Origin:
    """Where the lock says a model comes from; not where the bytes of one build happened to be fetched.

    Attributes:
        kind: ``hub``, ``wheel`` or ``directory``.
        id: Repository id, requirement or path.
        revision: Commit, where the kind has commits.
    """

    kind: str
    id: str
    revision: str | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Variant:
    """One runnable form of a model.

    Attributes:
        name: Such as ``torch-fp32``.
        backend: Which backend of the runtime loads it.
        precision: Number format of the weights while they run.
        directory: Directory below the bundle root that the backend is given.
        files: Every file that loading reads, as sorted paths below the bundle root.
        accuracy: What was measured of it when it was built, or None for a model without golden vectors.
    """

    name: str
    backend: str
    precision: str
    directory: str
    files: tuple[str, ...]
    accuracy: Accuracy | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Alternate:
    """Another model that may stand in.

    Attributes:
        model: Its name.
        accepts_other_space: Whether it may do so although its vectors belong to another embedding space.
    """

    model: str
    accepts_other_space: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class Proof:
    """Against what, and with what, the variants of a model were made and measured.

    Attributes:
        golden: Path of the golden vectors below the bundle root, see :mod:`thoth_models.golden`.
        derivation: Identity of all that the derived files follow from: source files, settings and toolchain.
        toolchain: Version of each library that took part, by name.
        omitted: Variants that the list has and the bundle has not, each with the reason why it could not be made.
    """

    golden: str
    derivation: Digest
    toolchain: Mapping[str, str]
    omitted: Mapping[str, str]


@dataclass(frozen=True, kw_only=True, slots=True)
class BuiltModel:
    """What is known of a model whose files are in the bundle.

    Attributes:
        origin: Where it comes from.
        license: SPDX-like identifier as published, or None where none was.
        max_seq_length: Longest input in tokens, longer ones are cut; None where there is no limit.
        pooling: How token vectors become one, such as ``mean``; several modes are joined with ``+``.
        normalize: Whether vectors are made unit length unless the caller says otherwise.
        similarity: ``cosine``, ``dot``, ``euclidean`` or ``manhattan``: the measure the model was published for.
        prompts: Text put before an input, by prompt name.
        default_prompt_name: Prompt used where the caller names none, or None.
        space: Identity of the embedding space, see :mod:`thoth_models.space`.
        variants: In order of preference.
        proof: What the variants were made and measured with, or None for a model without golden vectors.
    """

    origin: Origin
    license: str | None
    max_seq_length: int | None
    pooling: str
    normalize: bool
    similarity: str
    prompts: Mapping[str, str]
    default_prompt_name: str | None
    space: Digest
    variants: tuple[Variant, ...]
    proof: Proof | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Model:
    """One model of the list, whether its files are in the bundle or not.

    Attributes:
        name: Its name.
        aliases: Other names it answers to, sorted.
        alternates: Models that may stand in, in order.
        dimension: Length of its vectors.
        built: What was built, or None for a model that is absent because its sources did not answer.
    """

    name: str
    aliases: tuple[str, ...]
    alternates: tuple[Alternate, ...]
    dimension: int
    built: BuiltModel | None
