# A new cable to another namespace. It works, for the wrong one.
ip link del veth0
ip link add veth0 master br0 type veth peer name veth1 netns app1
ip link set veth0 up
ip -n app1 addr add 10.0.0.2/24 dev veth1
ip -n app1 link set veth1 up
