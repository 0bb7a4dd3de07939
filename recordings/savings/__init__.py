"""What archiving saved, for people: sums, figures, charts, pages."""
