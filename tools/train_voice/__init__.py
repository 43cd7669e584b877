"""How the embedded voice was made: README.md in this folder tells the steps in order."""
