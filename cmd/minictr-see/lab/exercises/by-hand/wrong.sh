# A namespace and a cable, of which one end is eth0 in it.
ip netns add box
ip link add veth-box type veth peer name eth0 netns box
ip -n box link set lo up
ip -n box addr add 172.20.0.2/24 dev eth0
ip -n box link set eth0 up
# A switch for the other end, at which the host is the gateway.
ip link add br-hand type bridge
ip addr add 172.20.0.1/24 dev br-hand
ip link set br-hand up
ip link set veth-box master br-hand
ip link set veth-box up
# The way out.
ip -n box route add default via 172.20.0.1
sysctl -q -w net.ipv4.ip_forward=1
nft add table ip hand
nft 'add chain ip hand post { type nat hook postrouting priority 100; }'
nft add rule ip hand post ip saddr 172.20.0.0/24 oifname != br-hand masquerade
# The published port, in hook output: good for the host itself, and for nobody else.
nft 'add chain ip hand out { type nat hook output priority -100; }'
nft add rule ip hand out fib daddr type local tcp dport 8080 dnat to 172.20.0.2:80
# What it is all for.
setsid ip netns exec box httpd -q -p 80 </dev/null >/dev/null 2>&1 &
sleep 0.3
