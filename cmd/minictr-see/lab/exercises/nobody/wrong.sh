# Half of it.
ip -n blue route replace default via 192.168.15.254
