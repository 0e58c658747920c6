"""How a detector keeps learning: one method a file."""
