"""Find data nodes, fetch their samples and watch new ones."""
