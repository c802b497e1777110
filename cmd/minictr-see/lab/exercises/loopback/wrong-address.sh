# The address alone, on an interface that stays off.
ip -n shop addr add 127.0.0.1/8 dev lo
