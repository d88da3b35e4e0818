"""The real daemon and real clients through power cuts, kills, failing disks, damaged files, stepping clocks and abuse."""
