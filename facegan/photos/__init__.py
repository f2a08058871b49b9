"""Stage ``download``: photos from a source to ``data/raw``, and the way to read them from there."""
