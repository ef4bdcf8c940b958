"""Shows prices to people: lists, explanations, stubs for what has no price."""
