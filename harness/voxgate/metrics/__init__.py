"""What is measured and promised: read, judged, summed up. Pure."""
