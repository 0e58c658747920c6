"""Lightning callbacks: what observes or stores between steps; one a file."""
