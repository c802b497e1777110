# 1. web: what is at none of my wires goes to the host.
ip -n web route add default via 10.0.0.1
# 2. The host: pass on what is not for me.
sysctl -q -w net.ipv4.ip_forward=1
# 3. The host: what leaves gets an address to which an answer can come.
nft add table ip nat
nft 'add chain ip nat post { type nat hook postrouting priority 100; }'
nft add rule ip nat post ip saddr 10.0.0.0/24 oifname eth0 masquerade
