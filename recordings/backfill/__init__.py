"""A backfill: a long date range, cut into portions that are runs of their own.

A portion is a day, or a part of a very large one. People are told of days. What is finished is known from the runs'
records.
"""
