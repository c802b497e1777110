fresh_host
namespace lan
cable lan eth0
ip addr add 192.0.2.10/24 dev eth0
ip -n lan addr add 192.0.2.20/24 dev eth0
ip -n lan link set lo up
server lan 80
in_ns lan sh -c 'ip -4 addr; ip -4 route show table all; ip rule' >$state/lan 2>&1
