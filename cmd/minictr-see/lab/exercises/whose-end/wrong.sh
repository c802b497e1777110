# The name says bank.
ip link set veth-bank down
