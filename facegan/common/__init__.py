"""What every stage uses: parameters, errors, progress, files, pictures, shards."""
