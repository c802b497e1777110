fresh_host
i=2
for n in red blue; do
	namespace $n
	cable $n veth-$n
	ip -n $n addr add 10.0.0.$i/24 dev eth0
	i=$((i + 1))
done
bridge br0 - veth-red veth-blue
