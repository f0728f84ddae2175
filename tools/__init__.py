"""Scripts that maintain the repository; no part of a distribution."""
