# The host's own route.
ip route add default via 172.17.0.1
