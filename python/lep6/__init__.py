"""The self-healing runtime of the Lumera storage network (LEP-6)."""
