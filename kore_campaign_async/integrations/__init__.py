"""What joins this package to other tools: one module each, imported by nobody who does not use it."""
