"""Define what nodes, hub and consumers exchange: times, fields, requests, replies, the grid."""
