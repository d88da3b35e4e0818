"""The daemon: its options, its state folder, the contact C{server} that lives in it, and the service around them."""
