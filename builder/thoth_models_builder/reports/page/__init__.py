"""The page about a bundle: one HTML file that needs nothing else. Pure, but for reading its own template and style."""
