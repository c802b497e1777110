# All right but for one end, which is off.
ip link add red0 type veth peer name blue0
ip link set red0 netns red
ip link set blue0 netns blue
ip -n red addr add 10.0.0.1/24 dev red0
ip -n blue addr add 10.0.0.2/24 dev blue0
ip -n red link set red0 up
