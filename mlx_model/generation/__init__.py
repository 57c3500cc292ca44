"""From a request to an answer: sessions, the runner, KV caches kept between prompts, sampling, constraints."""
