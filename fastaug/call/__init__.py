"""Data sets that are called for their samples, in worker processes, in threads or where a batch is asked
for."""
