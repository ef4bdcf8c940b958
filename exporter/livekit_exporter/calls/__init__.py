"""What a call is, in the job and in the sidecar: turns, sizes of requests, waste."""
