"""Configuration of the sidecar."""
