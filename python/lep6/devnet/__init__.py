"""A Lumera network in a box. So far: the nodes' stores, and the walk of one file through disaster and back."""
