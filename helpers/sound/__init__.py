"""The waveform: read, change, disturb, record."""
