# The gateway is the host, by the address that it has at their switch.
for n in red blue; do ip -n $n route replace default via 192.168.15.254; done
