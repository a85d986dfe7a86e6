"""Data nodes: what their authors write, and the service around it."""
