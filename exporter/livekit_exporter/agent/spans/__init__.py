"""Costs on LiveKit's own spans, as they are exported or while they are open."""
