"""Measures Downpour and its peers side by side. See bench/README.md."""
