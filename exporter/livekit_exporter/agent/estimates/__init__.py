"""What vendors bill and no event reports: read off LiveKit's spans, and estimated."""
