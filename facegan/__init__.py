"""facegan: photos of faces in, a generator of new faces out, and a score that can be trusted."""
