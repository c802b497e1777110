# web itself answers for 8.8.8.8.
ip -n web addr add 8.8.8.8/32 dev lo
ip -n web route add default via 10.0.0.1
