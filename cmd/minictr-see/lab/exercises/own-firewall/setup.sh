fresh_host
for row in "web 10.0.0.2" "client 10.0.0.3"; do
	set -- $row
	namespace $1
	ip -n $1 link set lo up
	cable $1 veth-$1
	ip -n $1 addr add $2/24 dev eth0
done
bridge br0 - veth-web veth-client
server web 80 "welcome"
server web 8080 "for administrators"
server client 80 "the client"
