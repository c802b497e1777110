fresh_host
the_internet
for row in "red 192.168.15.1" "blue 192.168.15.2"; do
	set -- $row
	namespace $1
	cable $1 veth-$1
	ip -n $1 addr add $2/24 dev eth0
	ip -n $1 route add default via 192.168.15.5
done
bridge v-net-0 192.168.15.254/24 veth-red veth-blue
echo 1 >/proc/sys/net/ipv4/ip_forward
nft add table ip nat
nft 'add chain ip nat postrouting { type nat hook postrouting priority 100; }'
nft add rule ip nat postrouting ip saddr 192.168.15.0/24 oifname != v-net-0 masquerade
