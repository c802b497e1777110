# A neighbour made up: nobody asks any more, and nobody takes the packets.
for n in red blue; do ip -n $n neigh replace 192.168.15.5 lladdr 02:00:00:00:00:05 dev eth0; done
