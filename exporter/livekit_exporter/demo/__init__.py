"""A voice platform without accounts: real AgentSessions, simulated providers, scripted callers."""
