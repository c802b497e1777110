goal "web has a default route, to the host" sh -c "ip -n web route show default | grep -q -w 'via 10.0.0.1'"
goal "the host passes packets on" grep -q 1 /proc/sys/net/ipv4/ip_forward
goal "web reaches 8.8.8.8" pings web 8.8.8.8
goal "8.8.8.8 sees the address of the host" fetches web http://8.8.8.8 "you are 203.0.113.2:"
goal "the internet is as it was" internet_untouched
