fresh_host
the_internet
namespace web
cable web veth-web
ip -n web addr add 10.0.0.2/24 dev eth0
ip -n web link set lo up
bridge br0 10.0.0.1/24 veth-web
