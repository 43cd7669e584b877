"""Matrix products by number of rows: few rows, many rows, and the choice between them."""
