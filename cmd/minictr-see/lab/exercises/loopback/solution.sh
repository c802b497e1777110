# An interface that is off takes no packets, lo neither. Its address comes by itself.
ip -n shop link set lo up
