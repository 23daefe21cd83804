"""What we exist for: healer, verifier and finalizer of heal ops, the tables that decide, and what a node remembers.

It sees the world through `lep6.ports` only.
"""
