"""A backfill: a long date range, cut into portions that are runs of their own.

A portion is a day, or a shard of a very large day: the recordings whose contact ids begin with the same letters. People
are told of days. What is finished is known from the runs' records.
"""
