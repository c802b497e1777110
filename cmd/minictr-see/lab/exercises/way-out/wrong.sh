# Route and forwarding: the packet arrives, the answer does not.
ip -n web route add default via 10.0.0.1
sysctl -q -w net.ipv4.ip_forward=1
