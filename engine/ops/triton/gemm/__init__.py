"""Matrix products by number of rows.

Few rows, many rows, and the choice between them.
"""
