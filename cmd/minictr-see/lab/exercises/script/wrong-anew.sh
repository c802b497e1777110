# Takes all away first: a server in it would be cut off.
cat >~/webserver.sh <<'END'
#!/bin/sh
set -u
ip link del webserver-h
ip netns del webserver
ip link del br-internal
nft delete table ip webserver
set -e
ip link add br-internal type bridge
ip addr add 10.100.0.1/24 dev br-internal
ip link set br-internal up
ip netns add webserver
ip link add webserver-h master br-internal type veth peer name veth-webserver netns webserver
ip link set webserver-h up
ip -n webserver addr add 10.100.0.10/24 dev veth-webserver
ip -n webserver link set veth-webserver up
ip -n webserver route add default via 10.100.0.1
sysctl -q -w net.ipv4.ip_forward=1
nft add table ip webserver
nft 'add chain ip webserver post { type nat hook postrouting priority 100; }'
nft add rule ip webserver post ip saddr 10.100.0.0/24 oifname != br-internal masquerade
END
sh ~/webserver.sh
