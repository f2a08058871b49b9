"""Stages ``reference`` and ``evaluate``: how far generated faces lie from real ones."""
