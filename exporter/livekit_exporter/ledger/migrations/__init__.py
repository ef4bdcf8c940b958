"""Steps from each version of the ledger to the next, run by Alembic.

A step spells everything out and imports nothing of ours that may change after it.
"""
