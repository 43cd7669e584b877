"""The former name of `qwentts_client.v1`."""
