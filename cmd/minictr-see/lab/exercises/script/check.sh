script=/run/minictr-lab/home/webserver.sh
run() {
	cd /run/minictr-lab/home
	if [ -x $script ]; then timeout 8 $script; else timeout 8 sh $script; fi </dev/null >/dev/null 2>&1
}
wipe() {
	ip link del webserver-h || true
	ip netns del webserver || true
	ip link del br-internal || true
	nft flush ruleset
	echo 0 >/proc/sys/net/ipv4/ip_forward
} >/dev/null 2>&1
# What there is, without numbers that a second run may change.
dump() {
	ip -o link | sed -e 's/^[0-9]*: //' -e 's/@if[0-9]*//' | sort
	ip -4 -o addr | sed 's/^[0-9]*: //' | sort
	ip -4 route
	ip rule
	ip -n webserver -4 -o addr
	ip -n webserver -4 route
	nft -s list ruleset
}
same() { stat -c %i /run/netns/webserver; cat /sys/class/net/br-internal/ifindex /sys/class/net/webserver-h/ifindex; }
built() {
	goal "$1: bridge br-internal has 10.100.0.1/24" sh -c "ip -o link show br-internal type bridge up | grep -q br-internal && ip -4 -o addr show br-internal | grep -q -w 10.100.0.1/24"
	goal "$1: webserver has 10.100.0.10/24, with a cable to br-internal" plugged webserver 10.100.0.10/24 br-internal
	goal "$1: the ends of the cable are called veth-webserver and webserver-h" sh -c "ip -n webserver link show veth-webserver && ip link show webserver-h"
	goal "$1: webserver reaches 8.8.8.8, which sees the host's address" fetches webserver http://8.8.8.8 "you are 203.0.113.2:"
}
if ! [ -e $script ]; then
	echo "not yet: there is a script ~/webserver.sh"
	exit 0
fi
wipe
goal "on a fresh host the script ends with exit code 0" run
settled
built "first run"
settled
before=$(dump 2>&1) identity=$(same 2>&1)
goal "the second time it ends with 0, too" run
settled
after=$(dump 2>&1) now=$(same 2>&1)
goal "the second run has changed nothing, and doubled nothing" [ "$after" = "$before" ]
goal "bridge, namespace and cable are the same as before" [ "$now" = "$identity" ]
built "second run"
goal "the internet is as it was" internet_untouched
