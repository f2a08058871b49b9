"""Stage ``train``: shards to a generator. ``game`` is the GAN game itself."""
