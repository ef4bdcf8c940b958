"""The meaning of a call, in the job and in the sidecar: turns, account, sizes, waste."""
