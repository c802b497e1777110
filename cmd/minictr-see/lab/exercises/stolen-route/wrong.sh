# ip route shows nothing bad any more.
ip route del 198.51.100.8/29 dev vpn0
