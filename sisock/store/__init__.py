"""Samples on disk: series, their pyramid, the catalogue of both, and background work."""
