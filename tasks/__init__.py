"""How the work is carried out by Prefect: mapping, retries, names, progress. What is done is in ``recordings``."""
