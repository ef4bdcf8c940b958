"""The process that reads journals, keeps the ledger and serves the metrics."""
