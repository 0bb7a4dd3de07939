"""Programs that measure what the project claims about speed, memory and cost; anyone can run them."""
