"""Text to prompt tokens, without torch.

Filter, splitter, tokenizer, token stream, layout of a prompt.
"""
