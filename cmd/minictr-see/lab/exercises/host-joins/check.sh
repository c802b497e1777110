goal "10.0.0.1/24 is at the right interface of the host" sh -c "ip -4 -o addr show br0 | grep -q -w 10.0.0.1/24"
goal "and at no other" sh -c "[ \$(ip -4 -o addr show | grep -c -w 10.0.0.1) = 1 ]"
goal "the host reaches red" pings - 10.0.0.2
goal "the host reaches blue" pings - 10.0.0.3
goal "red reaches the host" pings red 10.0.0.1
goal "red and blue are still at the switch" sh -c "[ \$(ip -o link show master br0 | wc -l) = 2 ]"
goal "red reaches blue" pings red 10.0.0.3
