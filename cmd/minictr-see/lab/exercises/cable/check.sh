a=$(with_address red 10.0.0.1/24) b=$(with_address blue 10.0.0.2/24)
one_cable() {
	is_veth red "$a" && is_veth blue "$b" &&
		[ "$(peer_index red "$a")" = "$(index blue "$b")" ] && [ "$(peer_index blue "$b")" = "$(index red "$a")" ]
}
goal "red has 10.0.0.1/24" has_address red 10.0.0.1/24
goal "blue has 10.0.0.2/24" has_address blue 10.0.0.2/24
goal "these are the two ends of one cable" one_cable
goal "both ends are on" sh -c "ip -n red link show dev '$a' | grep -q -w LOWER_UP && ip -n blue link show dev '$b' | grep -q -w LOWER_UP"
goal "red reaches blue" pings red 10.0.0.2
goal "blue reaches red" pings blue 10.0.0.1
