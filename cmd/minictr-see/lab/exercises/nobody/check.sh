# gateway_is_there NAMESPACE: the host has, at the switch, the address that the default route names.
gateway_is_there() {
	gateway=$(ip -n "$1" route show default | awk '$2 == "via" { print $3; exit }')
	[ -n "$gateway" ] && ip -4 -o addr show dev v-net-0 | grep -q -F -w "$gateway/24"
}
for n in red blue; do
	goal "the default route of $n leads to an address that the host has at v-net-0" gateway_is_there $n
	goal "$n reaches 8.8.8.8" fetches $n http://8.8.8.8 "you are 203.0.113.2:"
done
goal "the internet is as it was" internet_untouched
