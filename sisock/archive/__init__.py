"""Nodes over samples that exist already: files, databases, anything with a `read`."""
