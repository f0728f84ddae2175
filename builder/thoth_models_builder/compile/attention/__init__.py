"""Attention whose memory grows with the length of a text, not with its square (docs/decisions/0032-long-texts.md)."""
