"""The contract's services: requests read into speeches, events written as responses."""
