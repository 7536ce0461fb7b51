"""The modules of the network, in the order in which data flow through them."""
