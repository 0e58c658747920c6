"""From data sets on disk to batches: frame tables, readers, streams, sampler, datamodule."""
