"""The room of the ledger: what was used and what it cost, row by row.

Only this room knows the database.
"""
