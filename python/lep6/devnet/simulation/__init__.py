"""The whole box from one seed: real nodes, a chain, a network, and thousands of faults, under a mock clock.

Inline, over memory streams, in one thread: a seed decides everything, and is replayed by it.
"""
