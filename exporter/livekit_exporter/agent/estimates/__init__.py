"""Usage that vendors bill and LiveKit does not report: read off its spans, and estimated."""
