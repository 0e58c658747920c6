"""What may be wrong with the data of a stream: copies between splits, tell-tale files, doubtful labels."""
