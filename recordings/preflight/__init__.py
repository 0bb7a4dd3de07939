"""Preflight: is a bucket safe to work on? Inspected and tried before the first recording."""
