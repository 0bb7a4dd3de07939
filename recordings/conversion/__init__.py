"""From samples to samples: what is in a recording, and how it becomes small."""
