"""The serve command: flags to configuration."""
