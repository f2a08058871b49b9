"""Stage ``preprocess``: photos to shards of small pictures."""
