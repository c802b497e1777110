goal "the host has a bridge br0, and it is on" sh -c "ip -o link show br0 type bridge up | grep -q br0"
i=1
for n in red green blue; do
	goal "$n has 10.0.0.$i/24 on a cable to br0" plugged $n 10.0.0.$i/24 br0
	i=$((i + 1))
done
goal "red reaches green" pings red 10.0.0.2
goal "red reaches blue" pings red 10.0.0.3
goal "green reaches blue" pings green 10.0.0.3
