"""Readers: one data set layout a file, each gives a frame table."""
