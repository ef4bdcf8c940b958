"""The ledger: usage and its cost, row by row.  Only this package knows the database."""
