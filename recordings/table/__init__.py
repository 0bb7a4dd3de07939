"""The audit table: its rows, its files, and the proof that no file is missing."""
