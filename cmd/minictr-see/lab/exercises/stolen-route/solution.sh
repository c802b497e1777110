# The first thief: a more specific route in table main.
ip route del 198.51.100.8/29 dev vpn0
# The second: a rule that has another table asked before main.
ip rule del priority 5100
ip route flush table 51
