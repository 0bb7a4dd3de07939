"""What people read: the pages, tables and names of runs, backfills, jobs and forecasts, in Markdown."""
