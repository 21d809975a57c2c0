"""What fastaug runs on: devices, memory, the compiled kernels."""
