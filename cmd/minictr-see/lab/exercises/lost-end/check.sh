same_cable() { ip -n app4 link show veth1 | grep -q -F -f $state/mac && [ "$(host_end app4 veth1)" = veth0 ]; }
goal "the cable is the one that was there, with one end in the host and one in the namespace" same_cable
goal "its end in the namespace has 10.0.0.2/24" sh -c "ip -n app4 -4 -o addr show veth1 | grep -q -w 10.0.0.2/24"
goal "its other end is plugged into br0" sh -c "ip -o link show master br0 type veth | grep -q veth0@"
goal "both ends are on" sh -c "ip -o link show veth0 | grep -q -w LOWER_UP && ip -n app4 -o link show veth1 | grep -q -w LOWER_UP"
goal "the namespace reaches the host" pings app4 10.0.0.1
goal "the host reaches the namespace" pings - 10.0.0.2
