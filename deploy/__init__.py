"""Running the whole: with Docker, on Kubernetes, or from installed programs."""
