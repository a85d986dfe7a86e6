"""Benchmarks: ``make bench`` and ``make bench-peers`` give ratios within a run; none is a test."""
