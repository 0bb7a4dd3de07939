"""How Prefect carries the work out: mapping, retries, names, progress. The work itself is in ``recordings``."""
