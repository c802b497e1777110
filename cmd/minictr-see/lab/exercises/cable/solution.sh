# One command makes both ends; each can be born where it shall be.
ip link add eth0 netns red type veth peer name eth0 netns blue
ip -n red addr add 10.0.0.1/24 dev eth0
ip -n blue addr add 10.0.0.2/24 dev eth0
# A cable works when it is plugged in at both sides.
ip -n red link set eth0 up
ip -n blue link set eth0 up
