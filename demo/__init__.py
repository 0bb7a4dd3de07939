"""Everything on one machine: an embedded S3, a Prefect server, synthetic calls, and the real flow over them."""
