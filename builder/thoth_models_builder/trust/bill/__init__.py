"""Parts of a bill of materials, by https://cyclonedx.org."""
