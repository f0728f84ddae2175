"""``report``: the page about a bundle."""
