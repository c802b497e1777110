# It works, by a route that nobody could add on the internet.
ip -n web route add default via 10.0.0.1
sysctl -q -w net.ipv4.ip_forward=1
ip -n internet route add 10.0.0.0/24 via 203.0.113.2
