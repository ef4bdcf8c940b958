"""Databases that can hold a ledger: a SQLite file and PostgreSQL behind one interface."""
