goal "lo is switched on in shop" sh -c 'ip -n shop -o link show lo up | grep -q LOOPBACK'
goal "127.0.0.1 is an address of lo in shop" sh -c 'ip -n shop -4 -o addr show lo | grep -q -w 127.0.0.1/8'
goal "shop reaches its own server on 127.0.0.1" fetches shop http://127.0.0.1 "the shop is open"
