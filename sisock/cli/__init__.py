"""The command ``sisock``."""
