"""Serve existing samples: from files, databases, or anything with a `read`."""
