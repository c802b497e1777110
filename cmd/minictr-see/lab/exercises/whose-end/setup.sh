fresh_host
# NAMESPACE, the name of the host's end, its number, the number of eth0 in the namespace
for row in "shop veth-game 41 7" "bank veth-news 47 7" "mail veth-bank 43 47" "game veth-shop 48 7" "news veth-mail 45 43"; do
	set -- $row
	namespace $1
	ip link add name $2 index $3 type veth peer name eth0 index $4 netns $1
	ip link set $2 up
	ip -n $1 link set eth0 up
done
