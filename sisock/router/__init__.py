"""Launch the Crossbar router, guard its process, and keep the hub's registry."""
