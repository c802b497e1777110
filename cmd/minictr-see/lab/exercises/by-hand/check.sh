lan_untouched() { in_ns lan sh -c 'ip -4 addr; ip -4 route show table all; ip rule' 2>&1 | cmp -s - $state/lan; }
goal "br-hand is a bridge of the host with 172.20.0.1/24" sh -c "ip -o link show br-hand type bridge up | grep -q br-hand && ip -4 -o addr show br-hand | grep -q -w 172.20.0.1/24"
goal "box has 172.20.0.2/24 on eth0, with a cable to br-hand" sh -c "ip -n box -4 -o addr show eth0 | grep -q -w 172.20.0.2/24"
goal "and the cable is plugged in" plugged box 172.20.0.2/24 br-hand
goal "the host reaches the server of box" fetches - http://172.20.0.2 "I am 172.20.0.2:80"
goal "box gets the page of lan, and lan sees the address of the host" fetches box http://192.0.2.20 "you are 192.0.2.10:"
goal "lan gets the page of box at 192.0.2.10:8080, and box sees the address of lan" fetches lan http://192.0.2.10:8080 "I am 172.20.0.2:80, you are 192.0.2.20"
goal "lan is as it was" lan_untouched
goal "no container of minictr helps" sh -c "[ -z \"\$(minictr ps -q)\" ]"
