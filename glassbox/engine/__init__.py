"""How the network computes: layer protocol, sizes, losses, optimizers, shards and kernels."""
