"""Budgets: limits of a call, their tracker, and the reactions to them."""
