"""The commands: inspect, preview, verify, doctor, demo."""
