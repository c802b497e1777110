# The address at a port: what comes in there is the switch's.
ip addr add 10.0.0.1/24 dev veth-red
