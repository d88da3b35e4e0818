"""The wire protocol without any input or output: pure and synchronous."""
