"""Cache the samples of archives on disk: series, their pyramids, the catalogue, background work."""
