# The end that is here tells where the other one is.
app=$(ip link show veth0 | awk '{ for (i = 1; i < NF; i++) if ($i == "link-netns") { print $(i + 1); exit } }')
# In the switch of the host is the end that has stayed in the host.
ip link set veth0 master br0
ip link set veth0 up
# The other one is off and without an address, as everything that was moved.
ip -n "$app" addr add 10.0.0.2/24 dev veth1
ip -n "$app" link set veth1 up
