"""Strategies of hypothesis that several properties are made of."""

from __future__ import annotations

import hypothesis.strategies as st

from thoth_models.bundle.digest import Digest
from thoth_models.bundle.hidden_characters import HIDDEN

# Text of any kind but for lone surrogates, which have no UTF-8.
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
names = st.from_regex(r"[a-z0-9][a-z0-9-]{0,12}", fullmatch=True)
digests = st.binary(min_size=32, max_size=32).map(lambda data: Digest(data.hex()))
parts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\\/"), min_size=1, max_size=8).filter(
    lambda part: part not in (".", "..") and not HIDDEN.search(part)
)
