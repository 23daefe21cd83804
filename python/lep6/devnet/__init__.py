"""A Lumera network in a box: chain, network, nodes that really heal, scenarios, and a simulation that breaks it all."""
