"""Prices calls that are over again, when somebody corrects a price."""
