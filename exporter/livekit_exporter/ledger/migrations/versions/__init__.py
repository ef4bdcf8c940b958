"""Steps, a module per version."""
