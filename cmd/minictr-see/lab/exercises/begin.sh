# What all scripts of exercises begin with.
base=/run/minictr-lab/programs/minictr-base
state=/run/minictr-lab/state

# fresh_host: the host as a machine has it after booting, whatever the real one has set: a new
# network namespace takes some settings over from the machine's.
fresh_host() {
	ip link set lo up
	for f in ip_forward conf/all/forwarding conf/default/forwarding conf/all/rp_filter conf/default/rp_filter conf/all/route_localnet conf/default/route_localnet conf/all/proxy_arp conf/default/proxy_arp; do
		echo 0 >/proc/sys/net/ipv4/$f
	done
	for f in iptables ip6tables arptables; do
		if [ -e /proc/sys/net/bridge/bridge-nf-call-$f ]; then echo 0 >/proc/sys/net/bridge/bridge-nf-call-$f; fi
	done
}

# namespace NAME: a network namespace.
namespace() {
	ip netns add "$1"
	ip netns exec "$1" sh -c 'for f in all default; do echo 0 >/proc/sys/net/ipv4/conf/$f/rp_filter; echo 0 >/proc/sys/net/ipv4/conf/$f/forwarding; done'
}

# in_ns NAME COMMAND…
in_ns() { ip netns exec "$@"; }

# cable NAME HOSTEND: from eth0 of a namespace to a link of the host, both switched on.
cable() {
	ip link add "$2" type veth peer name eth0 netns "$1"
	ip link set "$2" up
	ip -n "$1" link set eth0 up
}

# bridge NAME ADDRESS/PREFIX [PORT…]: a switch, with an address where that is not "-".
bridge() {
	ip link add "$1" type bridge
	ip link set "$1" up
	if [ "$2" != - ]; then ip addr add "$2" dev "$1"; fi
	bridge=$1
	shift 2
	for port; do ip link set "$port" master "$bridge"; done
}

# background COMMAND…: a process that stays.
background() { setsid "$@" </dev/null >/dev/null 2>&1 & }

# server NAMESPACE PORT [MESSAGE]: a web server, and wait until it listens. Without a message it
# says who it is, and who has asked.
server() {
	background ip netns exec "$1" $base httpd -q -p "$2" ${3:+-m "$3"}
	listening "$1" "$2"
}

# listening NAMESPACE PORT: wait until somebody does.
listening() {
	for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
		if in_ns "$1" $base ss -Hltn | grep -q ":$2 "; then return 0; fi
		$base sleep 0.05
	done
	echo "nobody listens on port $2 in $1" >&2
	return 1
}

# the_internet: what is behind the host's eth0 (203.0.113.2): a router that knows no private
# address, a machine 8.8.8.8 that answers, and its web server.
the_internet() {
	namespace internet
	cable internet eth0
	ip addr add 203.0.113.2/24 dev eth0
	ip -n internet addr add 203.0.113.1/24 dev eth0
	ip -n internet link set lo up
	ip -n internet addr add 8.8.8.8/32 dev lo
	ip route add default via 203.0.113.1
	server internet 80
	in_ns internet sh -c 'ip -4 addr; ip -4 route show table all; ip rule; nft list ruleset' >$state/internet 2>&1
}

# goal WORDS COMMAND…: one line of a check. All goals are looked at at the same time, for one that is
# missed often takes until a packet is given up; "settled" waits for them, and prints.
answers=
last=0
running=
goal() {
	if [ -z "$answers" ]; then
		answers=$(mktemp -d)
		trap 'settled; rm -r "$answers"' EXIT
	fi
	last=$((last + 1))
	(
		words=$1
		shift
		if "$@" >/dev/null 2>&1; then echo "ok: $words"; else echo "not yet: $words"; fi
	) >$answers/$last &
	running="$running $!:$last"
}
settled() {
	for pair in $running; do
		wait ${pair%:*} || true
		cat $answers/${pair#*:}
	done
	running=
}

# not COMMAND…: for a goal that something is not so.
not() { if "$@"; then return 1; fi; }

# pings NAMESPACE ADDRESS: an echo comes back. "-" is the host.
pings() {
	if [ "$1" = - ]; then $base ping -c 1 -W 1 "$2"; else in_ns "$1" $base ping -c 1 -W 1 "$2"; fi
}

# fetch NAMESPACE URL: what a web server says.
fetch() {
	if [ "$1" = - ]; then $base wget -qO- -T 1 "$2"; else in_ns "$1" $base wget -qO- -T 1 "$2"; fi
}

# fetches NAMESPACE URL PATTERN: it says something that has PATTERN in it.
fetches() { fetch "$1" "$2" | grep -q -e "$3"; }

# with_address NAMESPACE ADDRESS/PREFIX: the link there that has it. "-" is the host.
with_address() {
	if [ "$1" = - ]; then ip -o -4 addr show; else ip -n "$1" -o -4 addr show; fi | awk -v a="$2" '$4 == a { sub(/@.*/, "", $2); print $2 }'
}

# has_address NAMESPACE ADDRESS/PREFIX: one link of it has the address, and is no lo or dummy.
has_address() {
	link=$(with_address "$1" "$2")
	[ -n "$link" ] && [ "$link" != lo ]
}

# is_veth NAMESPACE LINK: it is the end of a cable.
is_veth() { ip -n "$1" -o -d link show "$2" | grep -q -w veth; }

# index NAMESPACE LINK, peer_index NAMESPACE LINK: the number of an end of a cable, and of the other
# end as the kernel tells it.
index() { in_ns "$1" cat "/sys/class/net/$2/ifindex"; }
peer_index() { in_ns "$1" cat "/sys/class/net/$2/iflink"; }

# host_end NAMESPACE LINK: the link of the host at the other end of the cable.
host_end() {
	for l in $(ip -o link show type veth | awk -F'[ :@]+' '{ print $2 }'); do
		if [ "$(cat /sys/class/net/$l/ifindex)" = "$(peer_index "$1" "$2")" ] && [ "$(cat /sys/class/net/$l/iflink)" = "$(index "$1" "$2")" ]; then echo $l; return 0; fi
	done
	return 1
}

# plugged NAMESPACE ADDRESS/PREFIX BRIDGE: the cable of the link with that address ends in a port of
# the bridge, which is one.
plugged() {
	link=$(with_address "$1" "$2")
	[ -n "$link" ] && end=$(host_end "$1" "$link") && ip -o link show type bridge dev "$3" && [ "$(basename "$(readlink /sys/class/net/$end/master)")" = "$3" ]
}

# internet_untouched: the internet is not the learner's to change.
internet_untouched() {
	in_ns internet sh -c 'ip -4 addr; ip -4 route show table all; ip rule; nft list ruleset' 2>&1 | cmp -s - $state/internet
}
