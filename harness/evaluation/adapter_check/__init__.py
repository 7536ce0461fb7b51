"""Does an adapter keep the Protocol? It is asked about small phantoms of every kind that it claims to take."""
