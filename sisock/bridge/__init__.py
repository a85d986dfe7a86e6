"""The Grafana bridge: an HTTP server on top of the client."""
