"""Scripts that maintain the repository; not part of a distribution."""
