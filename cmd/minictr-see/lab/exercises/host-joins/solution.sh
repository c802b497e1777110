# br0 is the switch, and the host's own place at it.
ip addr add 10.0.0.1/24 dev br0
