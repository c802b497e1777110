# The line works now: there is a veth1 again, of another cable.
ip link add veth1 type veth peer name other netns app1
ip link set veth1 master br0
ip link set veth1 up
