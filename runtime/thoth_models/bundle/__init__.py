"""The content of a bundle: digests, the manifest, golden vectors, spaces, selection. Pure: no input or output."""
