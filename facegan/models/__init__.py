"""The networks: one file an architecture; ``registry`` has them by name. Torch only."""
