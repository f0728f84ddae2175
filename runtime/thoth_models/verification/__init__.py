"""The only code that reads bundle files, and the only code that creates a ``VerifiedVariant``."""
