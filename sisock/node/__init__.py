"""Run data nodes: the classes that authors extend, and the service around them."""
