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
# The published port. "fib daddr type local" is: for any address of the host.
# What it is all for.
setsid ip netns exec box httpd -q -p 80 </dev/null >/dev/null 2>&1 &
# A server of the host at the published port.
setsid httpd -q -p 8080 </dev/null >/dev/null 2>&1 &
sleep 0.3
