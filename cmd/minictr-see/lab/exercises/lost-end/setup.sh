fresh_host
for n in app1 app2 app3 app4 app5 app6; do namespace $n; done
bridge br0 10.0.0.1/24
ip link add veth0 type veth peer name veth1
ip link set veth1 netns app4
ip -n app4 link show veth1 | awk '/link\/ether/ { print $2 }' >$state/mac
