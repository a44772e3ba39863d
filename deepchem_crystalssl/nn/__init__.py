"""Neural networks on crystals and powder patterns, in PyTorch; DGL is used behind one door."""
