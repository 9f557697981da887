"""What the project must reach, measured side by side with the bound and with others. Not installed; no test of time."""
