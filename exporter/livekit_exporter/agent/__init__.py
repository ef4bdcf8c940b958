"""The room that runs inside the job process, beside the call."""
