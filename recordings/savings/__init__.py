"""Reports for people of what archiving saved: sums, figures, charts, pages."""
