"""Provide the command ``sisock``."""
