"""The command C{securemsg}: runs the client, shows its output, and ends with an exit status."""
