"""What an image looks like: detectors and their inputs."""
