"""Steps from each version of the ledger to the next, for Alembic.

A step says everything itself and imports nothing of ours that may change after it.
"""
