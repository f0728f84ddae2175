"""``load_embedding``: select, verify and load a model within a deadline, and record every attempt."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from thoth_models.bundle.selection import listed_variants, select
from thoth_models.errors import (
    ModelUnavailableError,
    SpaceMismatchError,
)
from thoth_models.loading.fallback import (
    LOAD_FAILURES,
    failed,
    log_fallback,
    log_refusal,
    make_embedding,
    warn_fallback,
)
from thoth_models.loading.tasks import Loading
from thoth_models.process.environment import bundle_place
from thoth_models.process.task import checked_seconds

if TYPE_CHECKING:
    import os
    from collections.abc import Sequence

    from thoth_models.embedding import Embedding
    from thoth_models.process.environment import BundlePlace


def load_embedding(  # noqa: PLR0913 - keyword arguments with defaults
    name: str | None = None,
    *,
    root: str | os.PathLike[str] | None = None,
    variants: Sequence[str] | None = None,
    same_space: bool = False,
    expect_space: str | None = None,
    expect_digest: str | None = None,
    min_release: int | None = None,
    timeout: float = 60.0,
) -> Embedding:
    """Load an embedding model from a verified bundle, offline, within a deadline.

    The variants of the model are tried in order, then those of its alternates. Each is compared with the manifest, byte
    for byte, before it is loaded, and must then give two golden texts the vectors that they had when the bundle was
    built. If a variant fails, the next one is tried, and :attr:`Embedding.info` has the reason.

    Args:
        name: Model name or alias; None for the bundle's default.
        root: The bundle directory; None for ``THOTH_MODELS_DIR``, by default ``/models``.
        variants: Names of the variants to accept, in order of preference; None for the order in models.yaml.
        same_space: Refuse a fallback of another embedding space, even if models.yaml accepts it.
        expect_space: The space that an index was built with (:attr:`EmbeddingInfo.space`); a model of another space is
            refused, whatever its name. None expects the space of the bundle's model.
        expect_digest: The bundle digest; another bundle is refused before its manifest is parsed. None for
            ``THOTH_MODELS_DIGEST``; if that is not set either, any bundle is accepted.
        min_release: The lowest release of the bundle that is accepted; an older one, or one that states no release, is
            refused before anything of it is used. None for ``THOTH_MODELS_MIN_RELEASE``, by default any.
        timeout: Seconds until :class:`LoadTimeout`, for everything together.

    Warns:
        FallbackWarning: A model of another embedding space answers.

    Raises:
        UnknownModelError: No model or alias has that name; the message lists the known names.
        InvalidInputError: The value of an argument is not valid.
        SpaceMismatchError: Only a model of another embedding space could answer, and that is not accepted.
        BundleNotFoundError: The bundle does not exist.
        ManifestError: The manifest is malformed.
        VerificationError: It is another bundle than the expected one, or an older release than is accepted,
            ``THOTH_TRUST`` asks for a signature that it does not have, or the manifest was changed. (If model files
            were changed, that is a failed attempt.)
        EnvironmentFault: A setting in the environment cannot be used.
        ModelUnavailableError: None of the variants that may answer could be loaded; has each attempt.
        OfflineViolation: Loading tried to use the network.
        LoadTimeout: The deadline passed; has the stacks of all threads. The loading thread keeps running.
    """
    seconds = checked_seconds(timeout)
    # Copied now: the list may change before a pickle.
    request = _Request(
        place=bundle_place(root, expect_digest, min_release),
        has_root=root is not None,
        expect_digest=expect_digest,
        min_release=min_release,
        name=name,
        variants=listed_variants(variants),
        same_space=same_space,
        expect_space=expect_space,
        seconds=seconds,
    )
    embedding = _Load(request).result()
    if embedding.info.fallback is not None:
        warn_fallback(embedding.info.fallback)
        log_fallback(embedding.info)
    return embedding


@dataclass(frozen=True, kw_only=True, slots=True)
class _Request:
    """The arguments of :func:`load_embedding`, as far as they can be checked without the bundle."""

    place: BundlePlace
    has_root: bool
    expect_digest: str | None
    min_release: int | None
    name: str | None
    variants: tuple[str, ...] | None
    same_space: bool
    expect_space: str | None
    seconds: float

    def settings(self) -> dict[str, Any]:
        """Return the settings of a manager that loads the same in another process; the caller checks the space.

        Without ``root``, each process has its own ``THOTH_MODELS_DIR``; it expects the digest of this bundle anyway.
        """
        return {
            "root": str(self.place.path) if self.has_root else None,
            "expect_digest": self.expect_digest,
            "min_release": self.min_release,
            "variants": self.variants,
            "timeout": self.seconds,
        }


class _Load(Loading["Embedding"]):
    """Loads the best candidate that can be loaded."""

    def __init__(self, request: _Request) -> None:
        super().__init__(repr(request.name or "the default model"), request.place, request.seconds)
        self._request = request

    def do(self) -> Embedding:
        bundle = self.open()
        request = self._request
        try:
            selection = select(
                bundle.manifest,
                request.name,
                variants=request.variants,
                same_space=request.same_space,
                expect_space=request.expect_space,
            )
        except SpaceMismatchError as error:
            log_refusal(request.name, error)
            raise
        attempts = list(selection.passed_over)
        for candidate in selection.candidates:
            try:
                loaded = self.load(bundle, candidate)
            except LOAD_FAILURES as error:
                attempts.append(failed(candidate, error))
            else:
                return make_embedding(
                    bundle, selection.requested, candidate, loaded, attempts, settings=request.settings
                )
        raise ModelUnavailableError(selection.requested, attempts)
