"""Python packages in a bill of materials: the libraries that compiled models, and the wheels of an image.

Both are components of type ``library`` with a package URL, at the top of the list, because that is what scanners look
at (docs/decisions/0039).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

from cyclonedx.model.component import Component, ComponentScope, ComponentType
from packageurl import PackageURL

from thoth_models_builder.trust.bill.parts import properties, sha256

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from thoth_models_builder.trust.bill.requirements import Wheel

_NOT_PACKAGES: Final = {"compiler": ComponentType.APPLICATION, "python": ComponentType.PLATFORM}
"""What a toolchain has besides packages: our own compiler, by its digest, and Python, without its patch level."""

_MACHINE: Final = "machine"
_PACKAGE: Final = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?", re.ASCII)
_VERSION: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9.!_-]*", re.ASCII)


def machine_of(toolchain: Mapping[str, str]) -> str | None:
    """Return the architecture of the machine that compiled."""
    return toolchain.get(_MACHINE)


def tool_refs(toolchain: Mapping[str, str]) -> list[str]:
    """Return the ``bom-ref`` of each part of a toolchain, sorted."""
    return sorted(_tool_ref(name, version) for name, version in toolchain.items() if name != _MACHINE)


def tools(toolchains: Iterable[Mapping[str, str]]) -> list[Component]:
    """Return the parts of toolchains, each once, in scope ``excluded``: they built something, and are not in it."""
    parts = {part for toolchain in toolchains for part in toolchain.items() if part[0] != _MACHINE}
    return [_tool(name, version) for name, version in sorted(parts)]


def wheel_component(wheel: Wheel) -> Component:
    """Return a wheel of an image."""
    return Component(
        name=wheel.name,
        version=wheel.version,
        type=ComponentType.LIBRARY,
        bom_ref=f"wheel:{wheel.name}@{wheel.version}" + ("" if wheel.sha256 is None else f":{wheel.sha256}"),
        scope=ComponentScope.REQUIRED,
        purl=PackageURL(type="pypi", name=wheel.name, version=wheel.version),
        hashes=[] if wheel.sha256 is None else [sha256(wheel.sha256)],
        properties=properties({"platforms": ", ".join(wheel.platforms)}),
    )


def _tool(name: str, version: str) -> Component:
    kind = _NOT_PACKAGES.get(name, ComponentType.LIBRARY)
    # The part after a `+` says which build of a release it is; databases of faults know the release.
    release, _, build = version.partition("+")
    is_package = kind is ComponentType.LIBRARY and _PACKAGE.fullmatch(name) and _VERSION.fullmatch(release)
    return Component(
        name=name if name != "compiler" else "thoth-models-compiler",
        version=release if is_package else version,
        type=kind,
        bom_ref=_tool_ref(name, version),
        scope=ComponentScope.EXCLUDED,
        purl=PackageURL(type="pypi", name=name, version=release) if is_package else None,
        properties=properties({"role": "toolchain", "build": build if is_package else None}),
    )


def _tool_ref(name: str, version: str) -> str:
    # Escaped, so that there is one `@` between the two.
    return f"tool:{quote(name, safe='')}@{quote(version, safe='+')}"
