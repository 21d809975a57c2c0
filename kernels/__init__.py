"""The kernels' sources, and the library compiled from them on install."""
