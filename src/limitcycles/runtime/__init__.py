"""What a process needs: errors, progress, memory, devices, random streams."""
