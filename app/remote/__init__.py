"""The engine of another computer: the chat's side of `gptoss-chat serve`, and of servers that have OpenAI's API."""
