"""Where the files of a model come from, as package URLs: https://github.com/package-url/purl-spec."""

from __future__ import annotations

from typing import Final

from thoth_models_builder.errors import UsageError

_TYPES: Final = {"hub": "huggingface", "wheel": "pypi"}


def package_url(kind: str, identifier: str, revision: str | None = None, path: str | None = None) -> str | None:
    """Return the package URL of an origin, or of a file in it.

    Args:
        kind: ``hub``, ``wheel`` or ``directory``.
        identifier: Repository id, or requirement.
        revision: Commit of a repository.
        path: Path of a file in it; None for the whole.

    Returns:
        Such as ``pkg:huggingface/org/name@COMMIT#config.json``; None for a directory, which has no such address.

    Raises:
        UsageError: The extra ``signing`` is not installed.
    """
    if kind not in _TYPES:
        return None
    try:
        from packageurl import PackageURL  # noqa: PLC0415 - the extra
    except ImportError as error:
        raise UsageError(
            "expected the extra `signing` (pip install 'thoth-models-builder[signing]'), found no packageurl-python"
        ) from error
    owner, _, name = identifier.rpartition("/")
    version = revision
    if kind == "wheel":
        owner, (name, _, version) = "", identifier.partition("==")
    return PackageURL(
        type=_TYPES[kind],
        namespace=owner or None,
        name=name.strip(),
        version=(version or "").strip() or None,
        subpath=path,
    ).to_string()
