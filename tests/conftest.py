"""Fixtures that several folders of tests share."""

pytest_plugins = ["tests.runs", "tests.toy", "tests.trees", "tests.small_runs"]
