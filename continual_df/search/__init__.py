"""Search of hyper-parameters inside a task, on its own validation split."""
