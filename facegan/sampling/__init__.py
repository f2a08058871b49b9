"""Stage ``sample``: a generator to pictures that people look at."""
