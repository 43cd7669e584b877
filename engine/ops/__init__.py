"""Operations that differ by device.

`base` is their interface, `reference` their definition, `select` chooses the backend.
"""
