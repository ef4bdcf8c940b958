"""Webhook: signs, sends and retries the documents of calls that ended."""
