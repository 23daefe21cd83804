"""A file and its artefacts: what the network keeps of it, and how it comes back from that."""
