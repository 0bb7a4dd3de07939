"""Is a bucket safe to work on: looked at, and tried, before the first recording."""
