"""First on the path, this makes dgl unimportable: the tests run once more without it."""

raise ImportError("dgl is made unimportable for this run")
