"""See the files of this folder; each says its one idea in its first line."""
