"""The real chain: queries, transactions and what its errors mean, over gRPC (chain contract §1-§3)."""
