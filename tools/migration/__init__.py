"""The audit of thoth-vdbmanager: what changed between its releases, read from the syntax trees of its wheels."""
