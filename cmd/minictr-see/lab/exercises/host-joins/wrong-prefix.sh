# Without /24 the host has an address, and no route to the others.
ip addr add 10.0.0.1 dev br0
