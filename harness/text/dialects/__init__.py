"""Reply dialects: how published models write boxes, points and masks in words, each read by a grammar of its own.

A dialect and the frame of its numbers are declared, by the user or by the adapter, and never guessed from a reply. So
that a damaged reply loses boxes but never moves one, a grammar takes numbers only from a group whose brackets, tokens
and count are whole; `harness.text.boxes` reads more, for replies about which nothing is declared.
"""
