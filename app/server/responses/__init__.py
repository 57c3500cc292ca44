"""The Responses API: a request as it comes to what the engine is asked, and what the engine brings to its events."""
