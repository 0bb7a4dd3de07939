"""The audit table: its rows, its files, and the proof that none is missing."""
