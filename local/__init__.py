"""The local stack: everything the app needs, and the app, on this machine and on loopback only."""
