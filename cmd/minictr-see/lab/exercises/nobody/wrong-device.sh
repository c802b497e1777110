# Without a gateway: now they ask at their own wire who has 8.8.8.8.
for n in red blue; do ip -n $n route replace default dev eth0; done
