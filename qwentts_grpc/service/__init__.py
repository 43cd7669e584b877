"""Services of the contract: requests become speeches, events responses."""
