# A still more specific route, in a table that is not asked.
ip route add 198.51.100.10/32 via 203.0.113.1
