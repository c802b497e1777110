fresh_host
the_internet
ip -n internet addr add 198.51.100.10/32 dev lo
ip -n internet addr add 198.51.100.20/32 dev lo
in_ns internet sh -c 'ip -4 addr; ip -4 route show table all; ip rule; nft list ruleset' >$state/internet 2>&1
namespace vpn
cable vpn vpn0
ip addr add 10.8.0.2/24 dev vpn0
ip route add 198.51.100.8/29 dev vpn0
ip route add unreachable 198.51.100.10 table 51
ip rule add to 198.51.100.10 lookup 51 priority 5100
