"""Stage ``preprocess``: converts photos to shards of small images."""
