"""The flows that an operator starts. Each reads as sentences; ``tasks`` and ``recordings`` do the work."""
