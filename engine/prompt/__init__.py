"""Text to prompt tokens: filter, splitter, tokenizer, token stream, and the layout of a prompt. No torch."""
