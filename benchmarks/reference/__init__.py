"""What the reference models cost: time and memory of their answers."""
