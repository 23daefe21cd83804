"""The heal service as operators run it and hosts embed it: from a configuration to a running node, and its controls."""
