"""Ops in a row over nodes that are processes, while they are killed and the chain fails: does anything grow?"""
