"""The command C{securemsg}: composes the client, renders what it says, and ends with a status that means something."""
