"""The daemon: options, state folder, the contact C{server}, and the service around them."""
