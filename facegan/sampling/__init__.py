"""Stage ``sample``: images drawn by a generator, and a report on its quality."""
