"""Join the router and stay joined: settings, transport, sessions, reconnecting, health, logs."""
