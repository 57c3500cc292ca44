"""HTTP for other programs: OpenAI's Responses and Chat Completions APIs over the engine; translations know no HTTP."""
