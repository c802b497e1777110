# All is there, and the switch is not switched on.
ip link add br0 type bridge
i=1
for n in red green blue; do
	ip link add veth-$n master br0 type veth peer name eth0 netns $n
	ip link set veth-$n up
	ip -n $n addr add 10.0.0.$i/24 dev eth0
	ip -n $n link set eth0 up
	i=$((i + 1))
done
