"""Stage ``download``: collects photos from a source in ``data/raw``, and reads them from there."""
