"""From preprocessed cases to batches: sampling, patches, and the processes that make them ahead of time."""
