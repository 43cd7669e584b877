"""The operations that differ by device: `base` says what each computes, `reference` defines it, `select` chooses."""
