"""Stages ``reference`` and ``evaluate``: scores of generated faces against real ones."""
