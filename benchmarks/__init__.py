"""Benchmarks: ``make bench``, ``bench-peers`` and ``bench-scale``; none is a test."""
