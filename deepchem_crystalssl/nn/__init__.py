"""Neural networks on crystals and patterns: torch, and dgl behind one door."""
