"""The shell: arguments become settings, settings a call or a run, and its outcome text and an exit status."""
