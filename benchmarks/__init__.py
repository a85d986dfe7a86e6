"""Benchmarks: ``make bench``. Each prints ratios within one run; none is a test."""
