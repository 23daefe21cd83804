"""The heal roles and what they remember. So far: the ledger, with the progress of publishing."""
