"""Questions that one run of the harness does not answer; each module is a command."""
