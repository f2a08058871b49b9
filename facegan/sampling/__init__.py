"""Stage ``sample``: a generator to pictures that people look at, and a page that tells how good they are."""
