"""Which instruction sets a processor has, and which figures are alike because of them. Pure."""

from __future__ import annotations

from typing import Any

INSTRUCTIONS = (
    *("avx2", "fma", "avx_vnni"),
    *("avx512f", "avx512_vnni", "avx512_bf16", "avx512_fp16"),
    *("amx_int8", "amx_bf16", "sha_ni"),
)
"""Flags of /proc/cpuinfo that decide how fast matrices are multiplied, in fp32 and int8, and files hashed."""

AVX512, AVX2, OTHER = "AVX-512 with VNNI", "AVX2 alone", "neither AVX-512 with VNNI nor AVX2"
"""Kinds of processors whose figures are alike."""


def kind_of(machine: dict[str, Any]) -> str:
    """Return the kind of a machine's processor: which budgets are for it, and what it can be compared with."""
    instructions = set(machine["instructions"])
    if {"avx512f", "avx512_vnni"} <= instructions:
        return AVX512
    return AVX2 if "avx2" in instructions else OTHER


def name_of(machine: dict[str, Any]) -> str:
    """Return how a machine is called: runs with the same name are of the same kind of machine."""
    instructions = ", ".join(machine["instructions"]) or "none of the instruction sets looked for"
    return f"{machine['processor']}, {machine['cores']} cores ({instructions})"
