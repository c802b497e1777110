goal "the host reaches 198.51.100.10" fetches - http://198.51.100.10 "I am 198.51.100.10:80, you are 203.0.113.2"
goal "by its default route" sh -c "ip route get 198.51.100.10 | grep -q 'via 203.0.113.1 dev eth0' && ! ip route show table all | grep -v -w local | grep -q '198.51.100'"
goal "no rule speaks of that address any more" sh -c "! ip rule | grep -q 198.51.100"
goal "its neighbour and 8.8.8.8 answer as before" sh -c "$base ping -c 1 -W 1 198.51.100.20 && $base ping -c 1 -W 1 8.8.8.8"
goal "the VPN is as it was" sh -c "ip -4 -o addr show vpn0 up | grep -q -w 10.8.0.2/24 && ip route show dev vpn0 | grep -q -w 10.8.0.0/24"
goal "the internet is as it was" internet_untouched
