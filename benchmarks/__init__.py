"""What we claim about speed, memory and cost, as programs that anyone can run."""
