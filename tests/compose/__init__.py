"""The images and the compose files, on a real Docker engine: ``make test-compose``."""
