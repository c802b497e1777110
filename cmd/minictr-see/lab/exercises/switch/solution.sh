ip link add br0 type bridge
ip link set br0 up
i=1
for n in red green blue; do
	# One end in the host, in a port of the switch, the other is eth0 in the namespace.
	ip link add veth-$n master br0 type veth peer name eth0 netns $n
	ip link set veth-$n up
	ip -n $n addr add 10.0.0.$i/24 dev eth0
	ip -n $n link set eth0 up
	i=$((i + 1))
done
