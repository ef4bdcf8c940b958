"""Price files: reads, checks and compiles them."""
