"""What travels between nodes, hub and consumers: times, fields, requests, replies, the grid."""
