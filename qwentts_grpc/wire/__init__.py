"""Values of the contract: requests, responses, formats, limits, errors, callers."""
