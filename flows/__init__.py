"""What an operator starts. Each flow reads as sentences; how and what are in ``tasks`` and ``recordings``."""
