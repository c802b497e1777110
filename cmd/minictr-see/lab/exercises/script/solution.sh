cat >~/webserver.sh <<'END'
#!/bin/sh
set -eu

bridge=br-internal
name=webserver
inside=veth-webserver
outside=webserver-h

# The switch, which others may use as well: make it only where it is missing.
ip link show "$bridge" >/dev/null 2>&1 || ip link add "$bridge" type bridge
ip addr replace 10.100.0.1/24 dev "$bridge"
ip link set "$bridge" up

# The namespace and its cable. An end that is missing takes the other with it.
[ -e "/run/netns/$name" ] || ip netns add "$name"
ip link show "$outside" >/dev/null 2>&1 || ip link add "$outside" type veth peer name "$inside" netns "$name"
ip link set "$outside" master "$bridge" up
ip -n "$name" link set lo up
ip -n "$name" addr replace 10.100.0.10/24 dev "$inside"
ip -n "$name" link set "$inside" up
ip -n "$name" route replace default via 10.100.0.1

# The way out. A table of our own, anew each time, in one transaction.
sysctl -q -w net.ipv4.ip_forward=1
nft -f - <<RULES
table ip $name
delete table ip $name
table ip $name {
	chain post {
		type nat hook postrouting priority 100;
		ip saddr 10.100.0.0/24 oifname != "$bridge" masquerade
	}
}
RULES
END
chmod +x ~/webserver.sh
~/webserver.sh
